//! Allowed ranges of settings.

use std::time::Duration;

/// The value of a setting and its allowed range, in milliseconds or as a number.
pub struct Range {
    /// The environment variable.
    pub variable: &'static str,
    value: Option<u128>,
    minimum: u128,
    maximum: u128,
    is_time: bool,
}

impl Range {
    /// Creates the range of a duration. Both bounds are inclusive.
    pub fn of_time(
        variable: &'static str,
        value: Option<Duration>,
        minimum: Duration,
        maximum: Duration,
    ) -> Range {
        let value = value.map(|value| value.as_millis());
        Range {
            variable,
            value,
            minimum: minimum.as_millis(),
            maximum: maximum.as_millis(),
            is_time: true,
        }
    }

    /// Creates the range of a number. Both bounds are inclusive.
    pub fn of_count(
        variable: &'static str,
        value: Option<usize>,
        minimum: u128,
        maximum: u128,
    ) -> Range {
        Range {
            variable,
            value: value.map(|value| value as u128),
            minimum,
            maximum,
            is_time: false,
        }
    }

    /// Returns the error if the value is out of range.
    pub fn reason(&self) -> Option<String> {
        match self.value? {
            value if value < self.minimum => {
                Some(format!("must be at least {}", self.format(self.minimum)))
            }
            value if value > self.maximum => {
                Some(format!("must be at most {}", self.format(self.maximum)))
            }
            _in_range => None,
        }
    }

    fn format(&self, value: u128) -> String {
        match value {
            value if !self.is_time => value.to_string(),
            value if value % 3_600_000 == 0 => format!("{}h", value / 3_600_000),
            value if value % 60_000 == 0 => format!("{}m", value / 60_000),
            value if value % 1000 == 0 => format!("{}s", value / 1000),
            value => format!("{value}ms"),
        }
    }
}
