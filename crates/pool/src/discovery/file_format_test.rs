use super::parse;

/// `name url rank labels` of each endpoint, or a piece of the error.
fn check(text: &str, expected: Result<&[&str], &str>) {
    for json in [false, true] {
        // YAML is read by one reader and JSON by both.
        if json && !text.trim_start().starts_with(['[', '{']) {
            continue;
        }
        let read = parse(text, json).map(|endpoints| {
            endpoints
                .iter()
                .map(|endpoint| {
                    let rank = endpoint
                        .rank
                        .map_or(String::new(), |rank| format!(" {rank}"));
                    let labels: String = endpoint
                        .labels
                        .iter()
                        .map(|(key, value)| format!(" {key}={value}"))
                        .collect();
                    format!("{} {}{rank}{labels}", endpoint.name, endpoint.url)
                })
                .collect::<Vec<_>>()
        });
        match (&read, expected) {
            (Ok(read), Ok(expected)) => assert_eq!(read, expected, "{text}"),
            (Err(reason), Err(piece)) => assert!(reason.contains(piece), "{text}: {reason}"),
            _ => panic!("{text}: {read:?}"),
        }
    }
}

#[test]
fn lists_are_read_in_every_shape() {
    check("[]", Ok(&[]));
    check(
        "- http://a:1\n- https://b/base/\n",
        Ok(&["a:1 http://a:1", "b:443/base https://b:443/base"]),
    );
    check(
        r#"{"endpoints": ["http://a:1", {"url": "http://a:1", "rank": 1}]}"#,
        Ok(&["a:1 http://a:1", "a:1#1 http://a:1 1"]),
    );
    check(
        "endpoints:\n- name: pod-0\n  namespace: llm\n  address: 10.0.0.1\n  port: \"8000\"\n  labels: {role: decode}\n",
        Ok(&["llm/pod-0 http://10.0.0.1:8000 role=decode"]),
    );
    check(
        "- {address: 'fd00::1', port: 8000, scheme: https, name: six}\n",
        Ok(&["six https://[fd00::1]:8000"]),
    );
}

#[test]
fn mistakes_are_named() {
    check("", Err("empty"));
    check(
        "- ftp://a:1\n",
        Err("entry 1: endpoint `ftp://a:1`: scheme `ftp`"),
    );
    check("- {adress: a, port: 1}\n", Err("adress"));
    check("- {address: a}\n", Err("entry 1: needs `url`"));
    check("- {address: 'a:1', port: 1}\n", Err("must not hold a port"));
    check("- {address: a, port: 70000}\n", Err("port from 1 to 65535"));
    check("- {url: 'http://a:1', port: 1}\n", Err("goes without"));
    check(
        "- {url: 'http://a:1', namespace: n}\n",
        Err("needs a `name`"),
    );
    check(
        "[\"http://a:1\", \"http://a:1/\"]",
        Err("`a:1` is listed twice"),
    );
    check("servers: []\n", Err("servers"));
    check("just text\n", Err("list of endpoints"));
}
