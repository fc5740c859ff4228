//! How is an error written so that OpenAI clients understand it?

/// `{"error":{"message","type","param","code"}}`, compact.
pub fn write(message: &str, kind: &str, param: Option<&str>, code: u16) -> Vec<u8> {
    serde_json::json!({"error": {"message": message, "type": kind, "param": param, "code": code}})
        .to_string()
        .into_bytes()
}
