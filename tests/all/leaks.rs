//! Where a secret could have been left: tables, Redis, log, metrics.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use deadpool_redis::redis::cmd;

use crate::{
    metrics,
    test_server::TestServer,
    test_stores::{ask, connect, connect_redis},
};

/// All that the keys of a prefix hold.
const ALL_OF_REDIS: &str = "
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

/// Every row of PostgreSQL; bytes are hexadecimal digits there.
async fn record(server: &TestServer) -> String {
    let names = "select string_agg(tablename, ' ') from pg_tables where schemaname = 'public'";
    let (names, database) = (
        ask(server, names).await,
        connect(server.setting("DATABASE_URL")).await,
    );
    let mut all = String::new();
    for name in names.split(' ') {
        let rows = database
            .query(&format!("select t::text from {name} t"), &[])
            .await
            .expect("rows");
        rows.iter().for_each(|row| all += row.get(0));
    }
    all
}

async fn redis(server: &TestServer) -> String {
    let mut redis = connect_redis(server.setting("REDIS_URL")).await;
    let mut all = cmd("EVAL");
    all.arg(ALL_OF_REDIS)
        .arg(0)
        .arg(server.setting("LATCHKEY_REDIS_PREFIX"));
    all.query_async(&mut redis).await.expect("it obeys")
}

/// Asserts that of an opaque token, which was used before, the hash in one row is all that there
/// is.
pub async fn only_its_hash_is_kept(server: &TestServer, token: &str) {
    let bytes = URL_SAFE_NO_PAD.decode(&token[4..]).expect("base64url");
    // Behind the id, which everybody may know, and in front of the checksum.
    let secret = &bytes[16..48];
    let (record, redis) = (record(server).await, redis(server).await);
    assert_eq!(
        record
            .matches(&hex(digest(&SHA256, secret).as_ref()))
            .count(),
        1,
        "its hash is on record"
    );
    assert!(redis.contains("epoch_id"), "all of Redis was read");
    // In every spelling, and of each a part that nobody would have by chance.
    let (text, digits) = (&token[30..50], &hex(secret)[10..30]);
    for place in [
        record,
        redis,
        server.log().join("\n"),
        metrics::page(server).await,
    ] {
        assert!(
            !place.contains(text) && !place.to_lowercase().contains(digits),
            "{place}"
        );
    }
}
