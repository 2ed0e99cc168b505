//! The first examination of a server: whether it can serve as the Redis of this program.

use std::time::Duration;

use deadpool_redis::redis::{
    Client, ConnectionAddr, FromRedisValue, RedisError, Value, aio::MultiplexedConnection, cmd,
    pipe,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use super::connect_error::RedisConnectError;

const PREFLIGHT: &str = include_str!("scripts/preflight.lua");

/// The commands that the scripts and the preflight call, or that call scripts, with the smallest
/// number of arguments. `{}` stands for a key.
const REQUIRED_COMMANDS: [&str; 25] = [
    "DEL {}",
    "EVALSHA 0 0",
    "EXISTS {}",
    "GET {}",
    "HDEL {} 0",
    "HEXISTS {} 0",
    "HGET {} 0",
    "HGETALL {}",
    "HINCRBY {} 0 0",
    "HMGET {} 0",
    "HSET {} 0 0",
    "HSETNX {} 0 0",
    "INCR {}",
    "PEXPIRE {} 0",
    "PEXPIRETIME {}",
    "PTTL {}",
    "SCAN 0",
    "SCRIPT LOAD 0",
    "SET {} 0",
    "TIME",
    "XADD {} 0 0 0",
    "XLEN {}",
    "XRANGE {} - +",
    "XREVRANGE {} + -",
    "XTRIM {} MINID 0",
];

/// The oldest supported version. Valkey reports the version of Redis that it is compatible with.
const MIN_MAJOR_VERSION: u32 = 7;

/// The timeout of an exchange without TLS.
const PLAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Keys in so many slots that every node of a Redis Cluster lacks one of them.
const CLUSTER_PROBES: usize = 64;

/// A server that can serve as the Redis of this program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisServer {
    /// The version of Redis, for example `7.2.4`.
    pub version: String,
    /// Whether it evicts keys when its memory is full.
    pub evicts_keys: bool,
    /// The replication ID of the primary.
    pub(super) history_id: String,
    is_in_cluster: bool,
}

/// Examines the server of a connection. All keys begin with `prefix`.
pub(super) async fn examine(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<RedisServer, RedisConnectError> {
    let mut script = cmd("EVAL");
    script
        .arg(PREFLIGHT)
        .arg(1)
        .arg(format!("{prefix}:{{rev}}:preflight"))
        .arg(REQUIRED_COMMANDS.join(","));
    let server = match script.query_async::<Vec<Value>>(connection).await {
        Ok(response) => parse(response)?,
        Err(error) => return Err(classify_failure(connection, error).await),
    };
    if server.is_in_cluster {
        require_all_slots(connection, prefix).await?;
    }
    Ok(server)
}

/// Returns the reason why the script failed: a Sentinel has no scripts.
async fn classify_failure(
    connection: &mut MultiplexedConnection,
    error: RedisError,
) -> RedisConnectError {
    let mut info = cmd("INFO");
    let info = info.arg("server").query_async::<String>(connection).await;
    let is_sentinel = info.is_ok_and(|info| read_mode(&info) == Some("sentinel"));
    if is_sentinel {
        RedisConnectError::Sentinel
    } else {
        RedisConnectError::from(error)
    }
}

/// Rejects a node of a Redis Cluster. A proxy in front of a cluster responds for all slots.
async fn require_all_slots(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<(), RedisConnectError> {
    let mut probes = pipe();
    for number in 0..CLUSTER_PROBES {
        probes
            .cmd("EXISTS")
            .arg(format!("{prefix}:{{{number}}}:preflight"));
    }
    let responses = probes.query_async::<Value>(connection).await;
    responses.map(drop).map_err(RedisConnectError::from)
}

/// Returns whether the server of a URL with TLS responds without TLS. Such a server waits for the
/// end of a command, so an attempt to connect with TLS only times out.
pub(super) async fn responds_without_tls(client: &Client) -> bool {
    let ConnectionAddr::TcpTls { host, port, .. } = client.get_connection_info().addr() else {
        return false;
    };
    let exchange = async {
        let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
        stream.write_all(b"PING\r\n").await?;
        stream.read_u8().await
    };
    // A response begins with `+` or `-`.
    let response = timeout(PLAIN_TIMEOUT, exchange).await;
    matches!(response, Ok(Ok(b'+' | b'-')))
}

fn parse(response: Vec<Value>) -> Result<RedisServer, RedisConnectError> {
    let mut parts = response.into_iter();
    let mut text = || match parts.next() {
        Some(Value::Nil) | None => None,
        Some(value) => String::from_redis_value(value).ok(),
    };
    let Some(replication) = text() else {
        return Err(RedisConnectError::NoInfo);
    };
    let (server, memory) = (text().unwrap_or_default(), text().unwrap_or_default());
    let denied = parts
        .next()
        .and_then(|denied| Vec::<String>::from_redis_value(denied).ok())
        .unwrap_or_default();
    let version = read_field(&server, "redis_version").unwrap_or_default();
    if !is_supported(version) {
        return Err(RedisConnectError::Version(version.to_owned()));
    }
    if !denied.is_empty() {
        let names = denied.iter().map(|command| name_of(command).to_owned());
        return Err(RedisConnectError::Denied(names.collect()));
    }
    if read_field(&replication, "role") != Some("master") {
        return Err(RedisConnectError::Follower);
    }
    let history_id = read_field(&replication, "master_replid").ok_or(RedisConnectError::NoInfo)?;
    Ok(RedisServer {
        version: version.to_owned(),
        evicts_keys: read_field(&memory, "maxmemory") != Some("0")
            && read_field(&memory, "maxmemory_policy") != Some("noeviction"),
        history_id: history_id.to_owned(),
        is_in_cluster: read_mode(&server) == Some("cluster"),
    })
}

/// Returns the name of a required command.
fn name_of(command: &str) -> &str {
    match command {
        "SCRIPT LOAD 0" => "SCRIPT LOAD",
        _other => command.split(' ').next().unwrap_or(command),
    }
}

fn is_supported(version: &str) -> bool {
    let major = version.split('.').next().unwrap_or_default();
    major
        .parse()
        .is_ok_and(|major: u32| major >= MIN_MAJOR_VERSION)
}

/// Returns the mode of a server: `standalone`, `sentinel`, or `cluster`. Valkey 8 renamed the
/// field.
fn read_mode(info: &str) -> Option<&str> {
    read_field(info, "redis_mode").or_else(|| read_field(info, "server_mode"))
}

/// Returns the value of a field in the response to `INFO`.
fn read_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    let mut values = info
        .lines()
        .filter_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    values.next().map(str::trim)
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    const REPLICATION: &str = "# Replication\r\nrole:master\r\nmaster_replid:abc\r\n";
    const SERVER: &str = "# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n";
    const MEMORY: &str = "maxmemory:0\r\nmaxmemory_policy:noeviction\r\n";

    fn parse_texts(texts: [&str; 3], denied: &[&str]) -> Result<RedisServer, RedisConnectError> {
        let text = |text: &str| Value::BulkString(text.into());
        let mut response: Vec<Value> = texts.into_iter().map(text).collect();
        response.push(Value::Array(denied.iter().copied().map(text).collect()));
        parse(response)
    }

    #[test]
    fn supported_primary_is_accepted() {
        let server = parse_texts([REPLICATION, SERVER, MEMORY], &[]).unwrap();
        assert_eq!(
            (server.version.as_str(), server.history_id.as_str()),
            ("7.0.15", "abc")
        );
        assert!(!server.evicts_keys && !server.is_in_cluster);
    }

    #[test]
    fn unusable_server_is_rejected_with_the_cause() {
        let follower = "role:slave\r\nmaster_replid:abc\r\n";
        let old = "redis_version:6.2.14\r\nredis_mode:standalone\r\n";
        for (texts, denied, reason) in [
            ([follower, SERVER, MEMORY], &[][..], "a follower"),
            ([REPLICATION, old, MEMORY], &[], "this is 6.2.14"),
            (
                [REPLICATION, "", MEMORY],
                &[],
                "is required; this is an unknown version",
            ),
            ([REPLICATION, SERVER, MEMORY], &["XADD {} 0 0 0"], "`XADD`"),
        ] {
            let error = parse_texts(texts, denied).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        let no_info = vec![Value::Nil, Value::BulkString("ERR".into())];
        assert!(matches!(parse(no_info), Err(RedisConnectError::NoInfo)));
    }

    #[test]
    fn mode_of_valkey_is_read() {
        let server = SERVER.replace("redis_mode:standalone", "server_mode:cluster");
        let server = parse_texts([REPLICATION, &server, MEMORY], &[]).unwrap();
        assert!(server.is_in_cluster);
    }

    #[test]
    fn eviction_requires_a_memory_limit() {
        for (memory, evicts) in [
            ("maxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n", false),
            ("maxmemory:9\r\nmaxmemory_policy:noeviction\r\n", false),
            ("maxmemory:9\r\nmaxmemory_policy:allkeys-lru\r\n", true),
        ] {
            let server = parse_texts([REPLICATION, SERVER, memory], &[]).unwrap();
            assert_eq!(server.evicts_keys, evicts, "{memory}");
        }
    }

    /// The scripts call no other command, except optionally `PUBLISH`.
    #[test]
    fn every_command_of_the_scripts_is_examined() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/redis/scripts");
        let mut called = BTreeSet::new();
        for file in fs::read_dir(folder).unwrap() {
            let text = fs::read_to_string(file.unwrap().path()).unwrap();
            for call in text.split("call('").skip(1) {
                called.insert(call.split('\'').next().unwrap().to_owned());
            }
        }
        let mut examined: BTreeSet<String> = REQUIRED_COMMANDS
            .iter()
            .map(|command| name_of(command).to_owned())
            .collect();
        for outside in ["EVALSHA", "SCRIPT LOAD"] {
            assert!(examined.remove(outside));
        }
        examined.extend(["INFO", "PUBLISH"].map(str::to_owned));
        assert_eq!(called, examined);
    }
}
