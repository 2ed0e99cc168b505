//! Searches the database, Redis, the log, and the metrics for a secret.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use deadpool_redis::redis::cmd;

use crate::{
    metrics,
    test_server::TestServer,
    test_stores::{connect, connect_redis, query_value, redis_prefix},
};

/// A Lua script that returns the names and values of all keys with a prefix.
const READ_ALL_KEYS: &str = "
    local readers = {string = {'GET'}, hash = {'HGETALL'}, list = {'LRANGE', 0, -1},
        set = {'SMEMBERS'}, zset = {'ZRANGE', 0, -1}, stream = {'XRANGE', '-', '+'}}
    local texts = {}
    for _, key in ipairs(redis.call('KEYS', ARGV[1] .. '*')) do
        local reader = readers[redis.call('TYPE', key).ok]
        texts[#texts + 1] = key .. cjson.encode(redis.call(reader[1], key, unpack(reader, 2)))
    end
    return table.concat(texts, ' ')";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns all rows of all tables as text, in which `bytea` values are hexadecimal.
async fn read_postgres(server: &TestServer) -> String {
    let names = "select string_agg(tablename, ' ') from pg_tables where schemaname = 'public'";
    let (names, database) = (
        query_value(server, names).await,
        connect(server.setting("DATABASE_URL")).await,
    );
    let mut contents = String::new();
    for name in names.split(' ') {
        let rows = database
            .query(&format!("select t::text from {name} t"), &[])
            .await
            .expect("rows");
        rows.iter().for_each(|row| contents += row.get(0));
    }
    contents
}

async fn read_redis(server: &TestServer) -> String {
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let mut eval = cmd("EVAL");
    eval.arg(READ_ALL_KEYS)
        .arg(0)
        .arg(redis_prefix(server).await);
    // Hashes of one-time codes are binary.
    let contents: Vec<u8> = eval.query_async(&mut redis).await.expect("a string");
    String::from_utf8_lossy(&contents).into_owned()
}

/// Returns the contents of PostgreSQL and of Redis as text.
pub async fn read_stores(server: &TestServer) -> (String, String) {
    (read_postgres(server).await, read_redis(server).await)
}

/// Returns which of these texts the stores contain, without regard to case.
pub async fn stored_texts<'a>(server: &TestServer, texts: &[&'a str]) -> Vec<&'a str> {
    let (postgres, redis) = read_stores(server).await;
    let contents = [postgres, redis].concat().to_lowercase();
    let is_stored = |text: &&&str| contents.contains(&text.to_lowercase());
    texts.iter().filter(is_stored).copied().collect()
}

/// Asserts that the hash in one row is the only trace of an opaque token.
///
/// Call it after the token was used, because a use could write the token somewhere.
pub async fn assert_only_hash_is_stored(server: &TestServer, token: &str) {
    let bytes = URL_SAFE_NO_PAD.decode(&token[4..]).expect("base64url");
    // The secret part follows the public ID and precedes the checksum.
    let secret = &bytes[16..48];
    let (postgres, redis) = read_stores(server).await;
    assert_eq!(
        postgres
            .matches(&hex(digest(&SHA256, secret).as_ref()))
            .count(),
        1,
        "PostgreSQL contains the hash"
    );
    assert!(redis.contains("epoch_id"), "Redis was read");
    // Parts of both encodings, long enough to exclude accidental matches.
    let (text, digits) = (&token[30..50], &hex(secret)[10..30]);
    for contents in [
        postgres,
        redis,
        server.log().join("\n"),
        metrics::page(server).await,
    ] {
        assert!(
            !contents.contains(text) && !contents.to_lowercase().contains(digits),
            "{contents}"
        );
    }
}
