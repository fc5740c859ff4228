use std::path::Path;

use fleet::Change;

use super::{File, MAX_FILE_BYTES};

/// Names of the endpoints that a look found; `None` where it changed nothing.
async fn look(file: &mut File) -> Option<Vec<String>> {
    match file.look().await? {
        Change::Resync { endpoints, .. } => Some(
            endpoints
                .iter()
                .map(|endpoint| endpoint.name.to_string())
                .collect(),
        ),
        other => panic!("not a resync: {other:?}"),
    }
}

/// A folder, and a file in it that names one endpoint.
async fn open(folder: &Path) -> File {
    let path = folder.join("endpoints.yaml");
    std::fs::write(&path, "- http://a:1\n").unwrap();
    File::open(path).await.unwrap().1
}

#[tokio::test(start_paused = true)]
async fn only_a_usable_change_is_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = open(folder.path()).await;
    let path = file.path.clone();
    let too_long = " ".repeat(usize::try_from(MAX_FILE_BYTES).unwrap() + 1);
    for (text, expected) in [
        ("- http://a:1\n", None),
        ("- http://b:1\n", Some(&["b:1"][..])),
        ("- {adress: c}\n", None),
        ("", None),
        (too_long.as_str(), None),
        ("- http://b:1\n- http://c:1\n", Some(&["b:1", "c:1"])),
        ("endpoints: []\n", Some(&[])),
    ] {
        std::fs::write(&path, text).unwrap();
        let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(look(&mut file).await, expected, "{text:.40}");
        assert_eq!(look(&mut file).await, None, "again: {text:.40}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_file_that_goes_and_comes_again_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = open(folder.path()).await;
    let path = file.path.clone();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(look(&mut file).await, None);
    std::fs::write(folder.path().join("new"), "- http://b:1\n").unwrap();
    std::fs::rename(folder.path().join("new"), &path).unwrap();
    assert_eq!(look(&mut file).await, Some(vec!["b:1".to_owned()]));
}
