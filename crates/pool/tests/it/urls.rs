//! Which URLs name an endpoint, and what is said about the others?

use pool::{PoolConfig, endpoint_from_url};

#[test]
fn urls_are_normalised() {
    let check = |url: &str, name: &str, expected: &str, address: &str| {
        let spec = endpoint_from_url(url).unwrap();
        let seen = (&*spec.name, &*spec.url, &*spec.address);
        assert_eq!(seen, (name, expected, address), "{url}");
    };
    check("http://a:1", "a:1", "http://a:1", "a:1");
    check(" HTTP://A:1/ ", "a:1", "http://a:1", "a:1");
    check("a:8000", "a:8000", "http://a:8000", "a:8000");
    check(
        "127.0.0.1:8101",
        "127.0.0.1:8101",
        "http://127.0.0.1:8101",
        "127.0.0.1:8101",
    );
    check("http://a", "a:80", "http://a:80", "a:80");
    check("https://a", "a:443", "https://a:443", "a:443");
    check("http://a:1/v1/", "a:1", "http://a:1", "a:1");
    check("http://a:1/x/y/", "a:1/x/y", "http://a:1/x/y", "a:1");
    check(
        "http://[::1]:8000",
        "[::1]:8000",
        "http://[::1]:8000",
        "[::1]:8000",
    );
}

#[test]
fn mistakes_are_named() {
    let check = |url: &str, piece: &str| {
        let message = endpoint_from_url(url).unwrap_err().to_string();
        assert!(message.contains(piece), "{url}: {message}");
    };
    check("", "is empty");
    check("ftp://a:1", "scheme `ftp` is not supported");
    check("http://", "not a URL: empty host");
    check("http://a:99999", "invalid port");
    check("http://a:0", "port 0");
    check("http://a:1/?x=1", "no `?`");
    check("http://me:s3cret@a:1", "holds credentials");
    let message = endpoint_from_url("http://me:s3cret@a:1")
        .unwrap_err()
        .to_string();
    assert!(!message.contains("s3cret"), "{message}");
}

#[test]
fn mistakes_in_settings_are_named() {
    let check = |edit: &dyn Fn(&mut PoolConfig), piece: &str| {
        let mut config = PoolConfig::default();
        edit(&mut config);
        let message = config.check().unwrap_err().to_string();
        assert!(message.contains(piece), "{message}");
    };
    assert!(PoolConfig::default().check().is_ok());
    check(
        &|config| config.health.path = "health".to_owned(),
        "health.path",
    );
    check(
        &|config| config.health.interval_ms = 0,
        "health.interval_ms",
    );
    check(&|config| config.health.unready_after = 0, "unready_after");
    check(
        &|config| config.scrape.max_interval_ms = 20,
        "max_interval_ms",
    );
    check(
        &|config| config.scrape.dialect = Some("vlm".to_owned()),
        "one of: vllm",
    );
    check(
        &|config| config.dns = Some(pool::DnsConfig::default()),
        "dns.host",
    );
    check(
        &|config| config.endpoints = vec!["ftp://a".to_owned()],
        "ftp",
    );
}
