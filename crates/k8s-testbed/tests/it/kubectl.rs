use std::process::Command;

use k8s_testbed::ApiServer;

use crate::objects::server;

const MANIFEST: &str = "
apiVersion: serving.kserve.io/v1alpha1
kind: LLMInferenceService
metadata: {name: q, namespace: default}
spec: {replicas: 3, model: {uri: 'hf://a/b', name: a/b}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: m, namespace: default}
data: {a: '1'}
";

struct Kubectl {
    folder: tempfile::TempDir,
}

impl Kubectl {
    /// `None`, said, where it is not installed.
    fn find(server: &ApiServer) -> Option<Self> {
        if Command::new("kubectl")
            .args(["version", "--client"])
            .output()
            .is_err()
        {
            println!("skipped: kubectl is not installed");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        server
            .write_kubeconfig(&folder.path().join("config"))
            .unwrap();
        std::fs::write(folder.path().join("m.yaml"), MANIFEST).unwrap();
        Some(Self { folder })
    }

    async fn run(&self, words: &str) -> String {
        let (folder, said) = (self.folder.path().to_owned(), words.to_owned());
        let output = tokio::task::spawn_blocking(move || {
            let mut command = Command::new("kubectl");
            command
                .current_dir(&folder)
                .env("KUBECONFIG", folder.join("config"))
                .env("HOME", &folder);
            command.args(said.split_whitespace()).output().unwrap()
        });
        let output = output.await.unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kubectl {words}\n{printed}");
        printed
    }

    async fn check(&self, words: &str, expected: &[&str]) {
        let printed = self.run(words).await;
        for expected in expected {
            assert!(
                printed.contains(expected),
                "kubectl {words}\n{printed}\nlacks {expected}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_is_at_home() {
    let server = server().await;
    let Some(kubectl) = Kubectl::find(&server) else {
        return;
    };
    kubectl
        .check(
            "apply -f m.yaml",
            &[
                "llminferenceservice.serving.kserve.io/q created",
                "configmap/m created",
            ],
        )
        .await;
    kubectl
        .check("apply -f m.yaml", &["configmap/m unchanged"])
        .await;
    kubectl
        .check(
            "get llmisvc",
            &["NAME", "URL", "READY", "REASON", "AGE", "q"],
        )
        .await;
    let patch =
        r#"patch llmisvc q --type=json -p=[{"op":"replace","path":"/spec/replicas","value":5}]"#;
    kubectl
        .check(patch, &["llminferenceservice.serving.kserve.io/q patched"])
        .await;
    kubectl
        .check("get llmisvc q -o jsonpath={.spec.replicas}", &["5"])
        .await;
    kubectl
        .check("scale llmisvc/q --replicas=2", &["scaled"])
        .await;
    kubectl
        .check("get llmisvc q -o yaml", &["replicas: 2"])
        .await;
    kubectl.check("label cm m x=y", &["labeled"]).await;
    kubectl.check("get cm -l x=y", &["m"]).await;
    kubectl
        .check(
            "apply --server-side --force-conflicts -f m.yaml",
            &["serverside-applied"],
        )
        .await;
    kubectl
        .check("get llmisvc q -o jsonpath={.spec.replicas}", &["3"])
        .await;
    kubectl
        .check(
            "api-resources --api-group=serving.kserve.io",
            &["llmisvc", "llminferenceservices"],
        )
        .await;
    kubectl.check("describe llmisvc q", &["Replicas:"]).await;
    kubectl
        .check("delete -f m.yaml --wait=true", &["deleted"])
        .await;
    kubectl.check("get llmisvc", &["No resources found"]).await;
    kubectl.check("version", &["Server Version"]).await;
    // These speak protobuf.
    kubectl
        .check("create namespace team", &["namespace/team created"])
        .await;
    kubectl
        .check(
            "-n team create secret generic s --from-literal=token=x",
            &["secret/s created"],
        )
        .await;
    kubectl
        .check("-n team get secret s -o jsonpath={.data.token}", &["eA=="])
        .await;
    kubectl
        .check(
            "-n team create configmap c --from-literal=a=b",
            &["created"],
        )
        .await;
    kubectl.check("auth can-i create pods", &["yes"]).await;
    kubectl
        .check("delete namespace team --wait=false", &["deleted"])
        .await;
}
