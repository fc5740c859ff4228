//! What text does a chat template make of a conversation?
//!
//! Templates are Jinja written for Python, so Python's string and dict methods, its JSON spacing and the
//! functions `raise_exception` and `strftime_now` are there. A template is run as the model's authors wrote
//! it; the conversation is first brought into the shape templates expect ([`normal::messages`]).

mod environment;
mod normal;

use minijinja::Environment;
use serde_json::{Map, Value};

/// Why there is no prompt text.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    #[error("the tokenizer has no chat template; use /v1/completions")]
    None,
    #[error("the chat template cannot be read: {0}")]
    Syntax(String),
    /// The template called `raise_exception`, or failed on this conversation.
    #[error("{0}")]
    Refused(String),
    #[error("messages: {0}")]
    Messages(String),
    #[error("Cannot set both `add_generation_prompt` and `continue_final_message` to True.")]
    BothEnds,
}

/// How a conversation is rendered.
#[derive(Clone, Copy, Debug)]
pub struct ChatOptions<'a> {
    /// End with the beginning of the model's answer.
    pub add_generation_prompt: bool,
    /// End inside the last message, so that the model goes on with it.
    pub continue_final_message: bool,
    /// Further variables of the template (`chat_template_kwargs`).
    pub kwargs: Option<&'a Map<String, Value>>,
    /// What `strftime_now` calls now: seconds since 1970, UTC.
    pub now_unix_s: i64,
}

impl Default for ChatOptions<'_> {
    fn default() -> Self {
        Self {
            add_generation_prompt: true,
            continue_final_message: false,
            kwargs: None,
            now_unix_s: 0,
        }
    }
}

const MAIN: &str = "chat";
const TOOL_USE: &str = "tool_use";

/// A parsed chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    has_tool_use: bool,
    /// The template walks through content parts itself instead of taking text.
    wants_parts: bool,
    bos_token: String,
    eos_token: String,
}

impl ChatTemplate {
    /// Parses `source`, and the variant for conversations with tools where there is one.
    ///
    /// # Errors
    /// It is not a Jinja template.
    pub fn new(source: String, tool_use: Option<String>) -> Result<Self, TemplateError> {
        let wants_parts = normal::wants_parts(&source);
        let mut environment = environment::for_chat();
        let has_tool_use = tool_use.is_some();
        let mut add = |name, source| {
            environment
                .add_template_owned(name, source)
                .map_err(|error| TemplateError::Syntax(one_line(&error)))
        };
        add(MAIN, source)?;
        if let Some(tool_use) = tool_use {
            add(TOOL_USE, tool_use)?;
        }
        Ok(Self {
            environment,
            has_tool_use,
            wants_parts,
            bos_token: String::new(),
            eos_token: String::new(),
        })
    }

    /// The ChatML template of the built-in tokenizer.
    pub fn chatml() -> Self {
        #[allow(
            clippy::expect_used,
            reason = "the text is part of this crate and rendered by its tests"
        )]
        let template =
            Self::new(include_str!("chatml.jinja").to_owned(), None).expect("ChatML is a template");
        template.with_tokens("", "<|im_end|>")
    }

    /// Sets what the template sees as `bos_token` and `eos_token`.
    #[must_use]
    pub fn with_tokens(mut self, bos: &str, eos: &str) -> Self {
        bos.clone_into(&mut self.bos_token);
        eos.clone_into(&mut self.eos_token);
        self
    }

    /// The prompt text of `messages` (a JSON array) with `tools` (an array, if any).
    ///
    /// # Errors
    /// The messages are not messages, or the template refuses them.
    pub fn render(
        &self,
        messages: &Value,
        tools: Option<&Value>,
        options: &ChatOptions<'_>,
    ) -> Result<String, TemplateError> {
        if options.add_generation_prompt && options.continue_final_message {
            return Err(TemplateError::BothEnds);
        }
        let messages =
            normal::messages(messages, self.wants_parts).map_err(TemplateError::Messages)?;
        let tools = tools.filter(|tools| tools.as_array().is_some_and(|tools| !tools.is_empty()));
        let name = if tools.is_some() && self.has_tool_use {
            TOOL_USE
        } else {
            MAIN
        };
        let mut variables = options.kwargs.cloned().unwrap_or_default();
        variables
            .entry("add_generation_prompt")
            .or_insert(options.add_generation_prompt.into());
        variables.insert("bos_token".to_owned(), self.bos_token.as_str().into());
        variables.insert("eos_token".to_owned(), self.eos_token.as_str().into());
        variables.insert(environment::NOW.to_owned(), options.now_unix_s.into());
        let refused = |error| TemplateError::Refused(one_line(&error));
        let context =
            minijinja::context! { messages, tools, ..minijinja::Value::from_serialize(&variables) };
        let text = self
            .environment
            .get_template(name)
            .and_then(|template| template.render(context))
            .map_err(refused)?;
        if options.continue_final_message {
            normal::cut_after_final(&text, &messages)
        } else {
            Ok(text)
        }
    }
}

/// What went wrong, without the template's source around it.
fn one_line(error: &minijinja::Error) -> String {
    error
        .detail()
        .map_or_else(|| error.kind().to_string(), str::to_owned)
}

#[cfg(test)]
mod tests;
