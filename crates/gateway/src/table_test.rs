use http::Request;

use super::*;

fn inbound(line: &str) -> Inbound {
    let mut words = line.split_whitespace();
    let method = words.next().unwrap();
    let mut request = Request::builder().method(method).uri(words.next().unwrap());
    for pair in words {
        let (name, value) = pair.split_once('=').unwrap();
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).unwrap().into_parts();
    Inbound {
        request_id: HeaderValue::from_static("x"),
        method: parts.method,
        uri: parts.uri,
        headers: parts.headers,
        client: None,
        prefix_bytes: 0,
    }
}

fn prefix(path: &str) -> RequestMatch {
    RequestMatch {
        path: PathMatch::Prefix(path.to_owned()),
        ..RequestMatch::default()
    }
}

fn exact(path: &str) -> RequestMatch {
    RequestMatch {
        path: PathMatch::Exact(path.to_owned()),
        ..RequestMatch::default()
    }
}

fn rule(route: &str, matches: Vec<RequestMatch>) -> RouteRule {
    RouteRule {
        route: route.to_owned(),
        matches,
        targets: vec![RouteTarget {
            pool: Some(route.to_owned()),
            weight: 1,
        }],
        ..RouteRule::default()
    }
}

#[track_caller]
fn check(rules: &[RouteRule], request: &str, expected: Option<&str>) {
    let table = Table::new(rules.to_vec());
    let hit = table.find(&inbound(request));
    assert_eq!(
        hit.map(|hit| hit.rule.route.as_str()),
        expected,
        "{request}"
    );
}

#[test]
fn prefixes_match_whole_elements() {
    let rules = [rule("abc", vec![prefix("/abc")])];
    check(&rules, "GET /abc", Some("abc"));
    check(&rules, "GET /abc/", Some("abc"));
    check(&rules, "GET /abc/d?x=1", Some("abc"));
    check(&rules, "GET /abcd", None);
    check(&rules, "GET /", None);
    check(
        &[rule("slash", vec![prefix("/abc/")])],
        "GET /abc",
        Some("slash"),
    );
    check(&[rule("all", Vec::new())], "DELETE /whatever", Some("all"));
}

#[test]
fn the_most_specific_match_counts() {
    let with = |route: &str, found: RequestMatch| rule(route, vec![found]);
    let rules = [
        with("short", prefix("/v1")),
        with("long", prefix("/v1/chat/completions")),
        with("exact", exact("/v1/models")),
        with(
            "post",
            RequestMatch {
                method: Some(Method::POST),
                ..prefix("/v1")
            },
        ),
        with(
            "model",
            RequestMatch {
                headers: vec![(
                    HeaderName::from_static("x-gateway-model-name"),
                    TextMatch::Exact("m".to_owned()),
                )],
                ..prefix("/v1")
            },
        ),
        with(
            "query",
            RequestMatch {
                query: vec![("a".to_owned(), TextMatch::Exact("b c".to_owned()))],
                ..prefix("/v1")
            },
        ),
    ];
    check(&rules, "GET /v1/other", Some("short"));
    check(&rules, "GET /v1/models", Some("exact"));
    check(&rules, "GET /v1/chat/completions/x", Some("long"));
    check(&rules, "POST /v1/other", Some("post"));
    check(
        &rules,
        "GET /v1/other X-Gateway-Model-Name=m",
        Some("model"),
    );
    check(
        &rules,
        "POST /v1/other x-gateway-model-name=m",
        Some("post"),
    );
    check(
        &rules,
        "GET /v1/other x-gateway-model-name=n",
        Some("short"),
    );
    check(&rules, "GET /v1/other?a=b+c", Some("query"));
}

#[test]
fn ties_go_to_the_older_route_then_its_name_then_the_first_rule() {
    let aged = |route: &str, created: i64| RouteRule {
        created_unix_seconds: created,
        ..rule(route, vec![prefix("/x")])
    };
    check(&[aged("a/b", 2), aged("z/z", 1)], "GET /x", Some("z/z"));
    check(&[aged("b/b", 1), aged("a/z", 1)], "GET /x", Some("a/z"));
}

#[test]
fn named_hosts_come_before_wildcards_before_none() {
    let on = |route: &str, hosts: &[&str]| RouteRule {
        hosts: hosts.iter().map(|&host| host.to_owned()).collect(),
        ..rule(route, vec![prefix("/")])
    };
    let rules = [
        on("any", &[]),
        on("wild", &["*.example.com"]),
        on("deep", &["*.a.example.com"]),
        on("named", &["x.a.example.com"]),
    ];
    check(&rules, "GET / host=x.a.example.com:80", Some("named"));
    check(&rules, "GET / host=Y.A.example.com", Some("deep"));
    check(&rules, "GET / host=b.example.com", Some("wild"));
    check(&rules, "GET / host=example.com", Some("any"));
    check(&rules, "GET http://b.example.com/", Some("wild"));
    check(&rules[1..], "GET / host=other.org", None);
}

#[track_caller]
fn check_rewrite(found: RequestMatch, rewrite: PathRewrite, uri: &str, expected: &str) {
    let table = Table::new(vec![RouteRule {
        rewrite: Some(rewrite),
        ..rule("r", vec![found])
    }]);
    let mut inbound = inbound(&format!("POST {uri}"));
    let hit = table.find(&inbound).unwrap();
    hit.rewrite(&mut inbound);
    assert_eq!(inbound.path_and_query(), expected);
}

#[test]
fn paths_are_rewritten_and_queries_kept() {
    let to = |path: &str| PathRewrite::Prefix(path.to_owned());
    check_rewrite(
        prefix("/ns/name/v1/chat"),
        to("/v1/chat"),
        "/ns/name/v1/chat/x?a=1",
        "/v1/chat/x?a=1",
    );
    check_rewrite(
        prefix("/ns/name"),
        to("/"),
        "/ns/name/v1/models",
        "/v1/models",
    );
    check_rewrite(prefix("/ns/name"), to("/"), "/ns/name?q", "/?q");
    check_rewrite(prefix("/ns/name/"), to("/y/"), "/ns/name/z/", "/y/z/");
    check_rewrite(prefix("/ns"), to("/y"), "/ns", "/y");
    check_rewrite(prefix("/"), to("/y"), "/a", "/y/a");
    check_rewrite(
        exact("/a"),
        PathRewrite::Full("/b".to_owned()),
        "/a?q=1",
        "/b?q=1",
    );
}

#[test]
fn headers_are_set_added_and_removed() {
    let name = HeaderName::from_static;
    let value = HeaderValue::from_static;
    let table = Table::new(vec![RouteRule {
        headers: HeaderEdits {
            set: vec![(name("a"), value("1"))],
            add: vec![(name("b"), value("2"))],
            remove: vec![name("c")],
        },
        ..rule("r", Vec::new())
    }]);
    let mut inbound = inbound("GET / a=0 b=0 c=0");
    table.find(&inbound).unwrap().rewrite(&mut inbound);
    assert_eq!(inbound.headers["a"], "1");
    assert_eq!(inbound.headers.get_all("b").iter().count(), 2);
    assert!(!inbound.headers.contains_key("c"));
}

#[track_caller]
fn check_share(weights: &[u32], chance: f64, expected: Option<usize>) {
    let rule = RouteRule {
        targets: weights
            .iter()
            .enumerate()
            .map(|(at, &weight)| RouteTarget {
                pool: Some(at.to_string()),
                weight,
            })
            .collect(),
        ..RouteRule::default()
    };
    let table = Table::new(vec![rule]);
    let found = inbound("GET /");
    let hit = table.find(&found).unwrap();
    let pool = hit.target(chance).and_then(|target| target.pool.clone());
    assert_eq!(
        pool,
        expected.map(|at| at.to_string()),
        "{weights:?} {chance}"
    );
}

#[test]
fn shares_follow_weights() {
    check_share(&[70, 30], 0.0, Some(0));
    check_share(&[70, 30], 0.69, Some(0));
    check_share(&[70, 30], 0.71, Some(1));
    check_share(&[0, 1], 0.0, Some(1));
    check_share(&[1, 0], 0.999, Some(0));
    check_share(&[0, 0], 0.5, None);
    check_share(&[], 0.5, None);
}

#[test]
fn patterns_match_paths_headers_and_parameters() {
    let pattern = |text: &str| Pattern::new(text).unwrap();
    let rules = [
        rule("prefix", vec![prefix("/v1")]),
        rule("exact", vec![exact("/v1/models")]),
        rule(
            "pattern",
            vec![RequestMatch {
                path: PathMatch::Pattern(pattern("/v1/(chat/)?completions")),
                ..RequestMatch::default()
            }],
        ),
        rule(
            "model",
            vec![RequestMatch {
                headers: vec![(
                    HeaderName::from_static("x-gateway-model-name"),
                    TextMatch::Pattern(pattern("qwen.*")),
                )],
                query: vec![("v".to_owned(), TextMatch::Pattern(pattern("[0-9]+")))],
                ..prefix("/v1")
            }],
        ),
    ];
    check(&rules, "GET /v1/chat/completions?x=1", Some("pattern"));
    check(&rules, "GET /v1/chat/completions/x", Some("prefix"));
    check(&rules, "GET /v1/models", Some("exact"));
    check(
        &rules,
        "GET /v1/x?v=12 x-gateway-model-name=qwen3",
        Some("model"),
    );
    check(
        &rules,
        "GET /v1/x?v=1a x-gateway-model-name=qwen3",
        Some("prefix"),
    );
    check(
        &rules,
        "GET /v1/x?v=12 x-gateway-model-name=llama",
        Some("prefix"),
    );
}
