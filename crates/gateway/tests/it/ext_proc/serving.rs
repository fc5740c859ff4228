//! Health, a stop, and certificates.

use super::*;

#[derive(Clone, PartialEq, prost::Message)]
struct Check {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Checked {
    #[prost(int32, tag = "1")]
    status: i32,
}

async fn health(address: SocketAddr, service: &str) -> i32 {
    let origin = http::Uri::from_static("http://picker");
    let mut client = tonic::client::Grpc::with_origin(line(address).await, origin);
    client.ready().await.unwrap();
    let request = Check {
        service: service.to_owned(),
    };
    let path = http::uri::PathAndQuery::from_static("/grpc.health.v1.Health/Check");
    let codec = tonic_prost::ProstCodec::<Check, Checked>::default();
    let answer = client
        .unary(tonic::Request::new(request), path, codec)
        .await;
    answer.unwrap().into_inner().status
}

#[tokio::test]
async fn health_by_name() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let names = [
        ("", 1),
        ("liveness", 1),
        ("readiness", 1),
        ("inference-extension", 1),
        ("envoy.service.ext_proc.v3.ExternalProcessor", 1),
        ("else", 3),
    ];
    for address in [deciding.health, deciding.picker] {
        for (name, expected) in names {
            assert_eq!(health(address, name).await, expected, "{name}");
        }
    }
}

#[tokio::test]
async fn a_stop_lets_responses_go_on_without_the_picker() {
    let deciding = deciding(&THREE, PickerConfig::default()).await;
    let mut stream = deciding.open().await;
    stream.decided(Mode::FullDuplex).await;
    stream.say(good("text/event-stream", false)).await;
    stream.answer().await;
    deciding.stop.cancel();
    // A clean end: the data plane goes on by itself.
    let ended = tokio::time::timeout(Duration::from_secs(5), stream.heard.message()).await;
    assert!(matches!(ended.unwrap(), Ok(None)));
    deciding.served.await.unwrap();
}

#[test]
fn certificates_are_made_or_read() {
    let made = Certificates::new(&TlsSettings::default());
    assert!(made.is_ok());
    let folder = tempfile::tempdir().unwrap();
    let settings = |min: &str, suites: &[&str], folder: Option<&std::path::Path>| TlsSettings {
        folder: folder.map(Into::into),
        min_version: (!min.is_empty()).then(|| min.to_owned()),
        cipher_suites: suites.iter().map(|suite| (*suite).to_owned()).collect(),
    };
    for (settings, words) in [
        (
            settings("VersionTLS13", &["TLS_AES_128_GCM_SHA256"], None),
            None,
        ),
        (settings("VersionTLS11", &[], None), Some("VersionTLS12")),
        (
            settings("", &["TLS_X"], None),
            Some("TLS_AES_256_GCM_SHA384"),
        ),
        (settings("", &[], Some(folder.path())), Some("tls.crt")),
    ] {
        let error = Certificates::new(&settings).err();
        match words {
            None => assert_eq!(error, None),
            Some(words) => assert!(error.as_ref().unwrap().contains(words), "{error:?}"),
        }
    }
}
