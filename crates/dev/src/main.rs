//! `latchkey-dev`: runs Latchkey on one machine for development.

use std::process::ExitCode;

fn main() -> ExitCode {
    latchkey_dev::main()
}
