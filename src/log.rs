//! The log of the process.
//!
//! `serve` and `migrate` write the log to standard output, as JSON or, on a terminal, as text.
//! Other commands write only warnings, to standard error, because standard output is for results.

mod writer;

use std::{
    fmt::{self, Write},
    io::{self, IsTerminal},
};

use latchkey::config::LogFilter;
use tracing::{
    field::{Field, Visit},
    span::Record,
};
use tracing_subscriber::{
    EnvFilter,
    field::RecordFields,
    fmt::{FormatFields, FormattedFields, format::Writer},
};

use writer::LogWriter;

/// Filter directives that override `LATCHKEY_LOG`. At lower levels, the PostgreSQL driver logs
/// statement parameters, which include password hashes, and refinery repeats events of the server.
const LIBRARY_FILTER: &str = "refinery_core=warn,tokio_postgres=warn";

/// The level and the destination of the log.
#[derive(Clone, Copy)]
pub enum Log {
    /// The level in the settings, on standard output.
    Full,
    /// Warnings, on standard error.
    Brief,
}

/// Starts the log at this level. It can be called once per process.
///
/// # Errors
/// If the thread can't be started.
pub fn start(level: &LogFilter, kind: Log) -> io::Result<Option<LogWriter>> {
    let filter = |level: &str| EnvFilter::new(format!("{level},{LIBRARY_FILTER}"));
    let log = tracing_subscriber::fmt().with_target(false);
    let log_writer = match kind {
        Log::Brief => {
            log.with_env_filter(filter("warn"))
                .with_writer(std::io::stderr)
                .init();
            None
        }
        Log::Full => {
            let is_terminal = std::io::stdout().is_terminal();
            let (queue, log_writer) = LogWriter::start()?;
            let log = log
                .with_env_filter(filter(level.as_str()))
                .with_writer(move || queue.clone());
            if is_terminal {
                log.init();
            } else {
                let log = log.json().flatten_event(true).with_span_list(false);
                log.fmt_fields(SpanFields).init();
            }
            Some(log_writer)
        }
    };
    // Panics are logged as events, so that each line of the log is valid JSON.
    std::panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string);
        tracing::error!(
            location,
            panic = panic.payload_as_str().unwrap_or("no message"),
            "panicked"
        );
    }));
    Ok(log_writer)
}

/// Writes the fields of a span as a JSON object.
///
/// Every request has a span, and few requests log an event. The formatter of the library builds a
/// tree of values first, which took 5% of the time of a request.
struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'writer>, fields: R) -> fmt::Result {
        JsonObject {
            writer,
            separator: '{',
            result: Ok(()),
        }
        .write(fields)
    }

    fn add_fields(
        &self,
        current: &'writer mut FormattedFields<Self>,
        fields: &Record<'_>,
    ) -> fmt::Result {
        let is_empty = current.fields == "{}";
        current.fields.truncate(if is_empty {
            0
        } else {
            current.fields.len() - 1
        });
        let separator = if is_empty { '{' } else { ',' };
        JsonObject {
            writer: current.as_writer(),
            separator,
            result: Ok(()),
        }
        .write(fields)
    }
}

struct JsonObject<'writer> {
    writer: Writer<'writer>,
    /// The character before the next field.
    separator: char,
    result: fmt::Result,
}

impl JsonObject<'_> {
    fn write(mut self, fields: impl RecordFields) -> fmt::Result {
        fields.record(&mut self);
        self.result?;
        // Without a field, the opening brace is not written yet.
        self.writer
            .write_str(if self.separator == '{' { "{}" } else { "}" })
    }

    fn write_field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let separator = std::mem::replace(&mut self.separator, ',');
        let write = |writer: &mut Writer<'_>| {
            write!(writer, "{separator}\"{}\":\"", field.name())?;
            Escaped(writer).write_fmt(value)?;
            writer.write_char('"')
        };
        self.result = self.result.and_then(|()| write(&mut self.writer));
    }
}

impl Visit for JsonObject<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.write_field(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.write_field(field, format_args!("{value:?}"));
    }
}

/// Escapes the content of a JSON string (RFC 8259 section 7).
struct Escaped<'a, W>(&'a mut W);

impl<W: Write> Write for Escaped<'_, W> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        // Includes characters that JSON allows unescaped, but that terminals interpret as control
        // sequences or line breaks.
        let is_special =
            |c: char| c.is_control() || matches!(c, '"' | '\\' | '\u{2028}' | '\u{2029}');
        while let Some((index, special)) = text.char_indices().find(|(_, c)| is_special(*c)) {
            write!(self.0, "{}\\u{:04x}", &text[..index], u32::from(special))?;
            text = &text[index + special.len_utf8()..];
        }
        self.0.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// The output of a logger.
    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Output {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn span_with_late_fields_is_json_object() {
        let output = Output::default();
        let writer = output.clone();
        let log = tracing_subscriber::fmt()
            .json()
            .with_span_list(false)
            .fmt_fields(SpanFields);
        let log = log.with_writer(move || writer.clone()).finish();
        tracing::subscriber::with_default(log, || {
            let empty = tracing::info_span!("empty", late = tracing::field::Empty);
            empty.in_scope(|| tracing::info!("first"));
            empty.record("late", "\"later\"");
            empty.in_scope(|| tracing::info!("second"));
            let full = tracing::info_span!(
                "full",
                path = "/a\"b",
                client = %"::1",
                late = tracing::field::Empty
            );
            full.record("late", 7);
            full.in_scope(|| tracing::info!("third"));
        });
        let text = String::from_utf8(output.0.lock().unwrap().clone()).unwrap();
        let spans: Vec<serde_json::Value> = text
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["span"].clone())
            .collect();
        assert_eq!(
            spans,
            [
                json!({"name": "empty"}),
                json!({"name": "empty", "late": "\"later\""}),
                json!({"name": "full", "path": "/a\"b", "client": "::1", "late": "7"}),
            ]
        );
    }

    #[test]
    fn escaped_fields_are_valid_json() {
        for text in [
            "",
            "/user",
            "a\"b\\c",
            "\n\u{0}\u{1f}\u{7f}",
            "ü 🗝 \" ü",
            "\u{9b}\u{2028}",
            "\"",
            "\\\\\"\"",
        ] {
            let mut line = String::from('"');
            Escaped(&mut line).write_str(text).unwrap();
            line.push('"');
            assert_eq!(serde_json::from_str::<String>(&line).unwrap(), text);
        }
    }
}
