//! The applications of a new deployment.

use latchkey_domain::application::ApplicationSetting;

use super::Value;

/// The initial applications: they are stored while there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InitialApplications(pub Vec<ApplicationSetting>);

impl Value for InitialApplications {
    fn read(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(InitialApplications::default());
        }
        let mut applications: Vec<ApplicationSetting> = Vec::new();
        for (index, entry) in text.split(',').enumerate() {
            let application = ApplicationSetting::parse(entry.trim())
                .map_err(|reason| format!("entry {} {reason}", index + 1))?;
            let is_repeated = applications
                .iter()
                .any(|other| other.origin == application.origin);
            if is_repeated {
                return Err(format!("entry {} repeats an origin", index + 1));
            }
            applications.push(application);
        }
        Ok(InitialApplications(applications))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_parsed_and_named_in_errors() {
        let read = |text| InitialApplications::read(text);
        assert_eq!(read("none"), Ok(InitialApplications::default()));
        let text = "https://app.example.com?role=admin, https://*.example.net";
        let InitialApplications(applications) = read(text).unwrap();
        let origins = applications.iter().map(|entry| entry.origin.as_str());
        let expected = ["https://app.example.com", "https://*.example.net"];
        assert!(origins.eq(expected));
        assert!(!applications[0].requirement.is_empty());
        for (text, start) in [
            ("", "entry 1 must "),
            ("https://app.example.com,", "entry 2 must "),
            (
                "https://app.example.com,http://app.example.com",
                "entry 2 must use https",
            ),
            (
                "https://a.example,https://A.example:443",
                "entry 2 repeats an origin",
            ),
            ("https://a.example?rol=admin", "entry 1 can have only"),
        ] {
            let reason = read(text).unwrap_err();
            assert!(reason.starts_with(start), "{text}: {reason}");
        }
    }
}
