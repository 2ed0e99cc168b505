//! Parameters that contain the name of a group.

use latchkey_domain::{group::GroupName, text::ParsedText};
use poem_openapi::registry::{MetaParamIn, MetaSchema};

use crate::{error::Error, http::openapi::params::Parameter};

/// Name of a group in a path. A malformed name returns 404.
impl Parameter for GroupName {
    const IN: MetaParamIn = MetaParamIn::Path;
    const REQUIRED: bool = true;

    fn schema() -> MetaSchema {
        group_name_schema()
    }

    fn read(text: Option<&str>, _: &'static str) -> Result<Self, Error> {
        text.and_then(|text| GroupName::parse(text).ok())
            .ok_or(Error::NotFound)
    }
}

/// Group whose members a list contains. An absent parameter selects all users.
pub struct MemberOf(pub Option<GroupName>);

impl Parameter for MemberOf {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        group_name_schema()
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let group = text.map(GroupName::parse).transpose();
        group
            .map(MemberOf)
            .map_err(|reason| Error::invalid_field(name, reason))
    }
}

/// Pagination cursor of groups: the last name of the previous page.
pub struct GroupCursor(pub Option<GroupName>);

impl Parameter for GroupCursor {
    const IN: MetaParamIn = MetaParamIn::Query;
    const REQUIRED: bool = false;

    fn schema() -> MetaSchema {
        group_name_schema()
    }

    fn read(text: Option<&str>, name: &'static str) -> Result<Self, Error> {
        let last = text.map(GroupName::parse).transpose();
        last.map(GroupCursor).map_err(|_| {
            Error::invalid_field(name, "must be the `next` value of the previous page")
        })
    }
}

fn group_name_schema() -> MetaSchema {
    let rules = GroupName::RULES;
    MetaSchema {
        example: Some(rules.example.into()),
        min_length: Some(rules.min),
        max_length: Some(rules.max),
        pattern: rules.pattern.map(str::to_owned),
        ..MetaSchema::new("string")
    }
}
