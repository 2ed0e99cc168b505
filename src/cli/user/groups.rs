//! `latchkey user groups`: changes the groups of a user.

use clap::ArgMatches;
use latchkey::app::admin::actor::AdminActor;
use latchkey_domain::{
    group::{GroupName, GroupNames, GroupsChange},
    user_change::AccountChange,
};

use super::Operator;
use crate::cli::{CommandError, FAILED, show};

impl Operator {
    pub(super) async fn change_groups(&self, matches: &ArgMatches) -> Result<String, CommandError> {
        let change = AccountChange {
            groups: Some(GroupsChange::Modify {
                add: group_names(matches, "add")?,
                remove: group_names(matches, "remove")?,
            }),
            ..AccountChange::default()
        };
        let before = self.find(matches).await?;
        let user = self
            .0
            .users
            .update_managed_user(AdminActor::Operator, before.account.id, change, None)
            .await?;
        let (name, groups) = (show::name(&user), &user.account.identity.groups);
        let list = match groups.is_empty() {
            true => "none".to_owned(),
            false => groups.iter().collect::<Vec<_>>().join(" "),
        };
        Ok(if before.account.identity.groups == *groups {
            format!("The groups of {name} are unchanged: {list}\n")
        } else {
            format!(
                "Changed the groups of {name} and revoked all sessions and tokens.\nGroups: {list}\n"
            )
        })
    }
}

/// Returns the groups that an option names.
pub(super) fn group_names(matches: &ArgMatches, option: &str) -> Result<GroupNames, CommandError> {
    let names = matches.get_many::<GroupName>(option).unwrap_or_default();
    GroupNames::parse_list(names.map(GroupName::as_str))
        .map_err(|reason| CommandError::new(FAILED, format!("--{option}: {reason}")))
}
