//! Ranges of settings.

use std::time::Duration;

/// The range of a setting, in milliseconds or as a number.
pub struct Range {
    /// The environment variable.
    pub variable: &'static str,
    value: Option<u128>,
    least: u128,
    most: u128,
    is_time: bool,
}

impl Range {
    /// The range of a duration.
    pub fn of_time(
        variable: &'static str,
        value: Option<Duration>,
        least: Duration,
        most: Duration,
    ) -> Range {
        let value = value.map(|value| value.as_millis());
        Range {
            variable,
            value,
            least: least.as_millis(),
            most: most.as_millis(),
            is_time: true,
        }
    }

    /// The range of a number.
    pub fn of_count(
        variable: &'static str,
        value: Option<usize>,
        least: u128,
        most: u128,
    ) -> Range {
        Range {
            variable,
            value: value.map(|value| value as u128),
            least,
            most,
            is_time: false,
        }
    }

    /// The error, if the value is out of range.
    pub fn reason(&self) -> Option<String> {
        match self.value? {
            value if value < self.least => {
                Some(format!("must be at least {}", self.shown(self.least)))
            }
            value if value > self.most => {
                Some(format!("must be at most {}", self.shown(self.most)))
            }
            _fits => None,
        }
    }

    fn shown(&self, value: u128) -> String {
        match value {
            value if !self.is_time => value.to_string(),
            value if value % 3_600_000 == 0 => format!("{}h", value / 3_600_000),
            value if value % 60_000 == 0 => format!("{}m", value / 60_000),
            value if value % 1000 == 0 => format!("{}s", value / 1000),
            value => format!("{value}ms"),
        }
    }
}
