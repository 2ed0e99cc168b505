//! The hint for ports that are in use: a command with free ports.

use std::{
    env,
    net::{SocketAddr, TcpListener},
};

use super::{DevOptions, shell_commands};

/// Number of higher ports that are tried.
const MAX_DISTANCE: u16 = 1000;

/// Returns a hint with a command that uses other ports, or `None` if no port is in use.
///
/// The command changes all ports in use at once, because each attempt reports only one of them.
pub(super) fn find_hint(options: &DevOptions) -> Option<String> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    // A flag would override the variable in the command.
    let is_port_flag = |argument: &String| {
        let name = argument.split('=').next().unwrap_or_default();
        ["--listen", "--metrics-listen", "--mailbox-listen"].contains(&name)
    };
    if arguments.iter().any(is_port_flag) {
        return None;
    }
    let replicas = options.replicas.max(1);
    let mut addresses = vec![
        ("LATCHKEY_LISTEN", options.listen, replicas),
        ("LATCHKEY_METRICS_LISTEN", options.metrics_listen, replicas),
    ];
    if !options.given.has("LATCHKEY_SMTP_URL") {
        let mailbox = options.mailbox_listen;
        addresses.push(("LATCHKEY_DEV_MAILBOX_LISTEN", mailbox, 1));
    }
    let variables: String = addresses
        .into_iter()
        .filter(|(_, address, count)| !are_free(*address, *count))
        .filter_map(|(variable, address, count)| {
            let free = find_free(address, count)?;
            Some(format!("{variable}={free} "))
        })
        .collect();
    let arguments: String = arguments
        .iter()
        .map(|argument| format!(" {}", shell_commands::quote(argument)))
        .collect();
    (!variables.is_empty()).then(|| {
        let start = shell_commands::start_command();
        format!("use other ports:  {variables}{start}{arguments}")
    })
}

/// Finds a higher port, from which on this number of ports are free.
fn find_free(address: SocketAddr, count: u16) -> Option<SocketAddr> {
    (1..=MAX_DISTANCE)
        .filter_map(|distance| address.port().checked_add(distance))
        .map(|port| SocketAddr::new(address.ip(), port))
        .find(|address| are_free(*address, count))
}

/// Returns whether this number of ports can be bound, starting with the port of this address.
fn are_free(address: SocketAddr, count: u16) -> bool {
    if address.port() == 0 {
        return true;
    }
    (0..count).all(|index| {
        let port = address.port().checked_add(index);
        port.is_some_and(|port| TcpListener::bind((address.ip(), port)).is_ok())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GivenSettings;

    #[test]
    fn hint_changes_only_used_ports() {
        let used = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = used.local_addr().unwrap();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let options = DevOptions {
            detach: false,
            down: false,
            replicas: 1,
            directory: ".latchkey".into(),
            listen: any,
            metrics_listen: address,
            mailbox_listen: any,
            given: GivenSettings::default(),
        };
        let free = find_free(address, 1).unwrap();
        assert!(free.port() > address.port());
        // The arguments are those of the test.
        let hint = find_hint(&options).unwrap();
        assert!(
            hint.contains("LATCHKEY_METRICS_LISTEN=127.0.0.1:")
                && !hint.contains("LATCHKEY_LISTEN")
                && !hint.contains("MAILBOX"),
            "{hint}"
        );
        drop(used);
        let options = DevOptions {
            metrics_listen: any,
            ..options
        };
        assert_eq!(find_hint(&options), None);
    }
}
