//! Which top-level fields does a body hold?

use std::borrow::Cow;

use super::error::{Stop, TypeStop};
use super::loose::{boolean, tokens};
use super::messages::{self, Budget};
use super::{BodyError, ChatView, MessageView, Prompt, Raw, RequestView, Route, generate, prompt};
use crate::json::Cursor;

/// A field as its last occurrence left it: absent or null, a value, or of a wrong type.
pub(super) type Field<T> = Result<Option<T>, TypeStop>;

/// What the top level said so far. Types are judged at the end, since a later duplicate replaces an earlier one.
struct Fields<'a> {
    model: Field<Cow<'a, str>>,
    stream: Field<bool>,
    include_usage: Field<bool>,
    max_completion_tokens: Field<u64>,
    max_tokens: Field<u64>,
    max_output_tokens: Field<u64>,
    cache_salt: Field<Cow<'a, str>>,
    previous_response_id: Field<Cow<'a, str>>,
    prompt: Field<Prompt<'a>>,
    has_embeds: bool,
    messages: Field<Vec<MessageView<'a>>>,
    tools: Field<Raw<'a>>,
    template: Vec<(&'static str, Field<Raw<'a>>)>,
    add_generation_prompt: Field<bool>,
    continue_final_message: Field<bool>,
    apart: generate::Apart,
}

/// Reads `body` as far as routing needs. Unknown fields are skipped, never judged; a field that routing
/// reads but that has a type no engine accepts is an error. Of a duplicated key the last counts; `null` is as
/// good as absent. [`Route::Other`] is never looked into and never fails.
///
/// # Errors
/// [`BodyError`] for bytes that are no UTF-8 JSON object, for wrong types, and for `messages` or `prompt` missing
/// where the route is nothing without.
pub fn parse<'a>(route: Route, body: &'a [u8]) -> Result<RequestView<'a>, BodyError> {
    let mut fields = Fields::default();
    if route == Route::Other {
        return fields.into_view(route);
    }
    if body.iter().all(u8::is_ascii_whitespace) {
        return Err(BodyError::Empty);
    }
    let text = simdutf8::basic::from_utf8(body).map_err(|_| BodyError::Utf8 {
        offset: first_bad_byte(body),
    })?;
    fields
        .read(route, text)
        .map_err(|stop| stop.in_text(text))?;
    fields.into_view(route)
}

/// The fast check says only yes or no; the place is looked for once it said no.
fn first_bad_byte(body: &[u8]) -> usize {
    std::str::from_utf8(body).map_or_else(|error| error.valid_up_to(), |_| body.len())
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            model: Ok(None),
            stream: Ok(None),
            include_usage: Ok(None),
            max_completion_tokens: Ok(None),
            max_tokens: Ok(None),
            max_output_tokens: Ok(None),
            cache_salt: Ok(None),
            previous_response_id: Ok(None),
            prompt: Ok(None),
            has_embeds: false,
            messages: Ok(None),
            tools: Ok(None),
            template: Vec::new(),
            add_generation_prompt: Ok(None),
            continue_final_message: Ok(None),
            apart: generate::Apart::default(),
        }
    }
}

impl<'a> Fields<'a> {
    fn read(&mut self, route: Route, text: &'a str) -> Result<(), Stop> {
        let mut cursor = Cursor::new(text);
        if cursor.peek() != Some(b'{') {
            cursor.skip()?;
            cursor.end()?;
            return Err(Stop::wrong("body", "a JSON object"));
        }
        cursor.object(|cursor, key| {
            if self.common(cursor, &key)? || self.of_route(route, cursor, &key)? {
                return Ok(());
            }
            Ok::<(), Stop>(cursor.skip()?)
        })?;
        Ok(cursor.end()?)
    }

    /// Reads `key` if it is one that every route has.
    fn common(&mut self, at: &mut Cursor<'a>, key: &str) -> Result<bool, Stop> {
        match key {
            "model" => self.model = field(at, |at| string(at, "model"))?,
            "stream" => self.stream = field(at, |at| boolean(at, "stream"))?,
            "stream_options" => {
                self.include_usage = field(at, stream_options)?.map(Option::flatten)
            }
            "max_completion_tokens" => {
                self.max_completion_tokens = field(at, |at| tokens(at, "max_completion_tokens"))?;
            }
            "max_tokens" => self.max_tokens = field(at, |at| tokens(at, "max_tokens"))?,
            "max_output_tokens" => {
                self.max_output_tokens = field(at, |at| tokens(at, "max_output_tokens"))?;
            }
            "cache_salt" => self.cache_salt = field(at, |at| string(at, "cache_salt"))?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// Reads `key` if it is one that `route` makes a prompt of.
    fn of_route(&mut self, route: Route, at: &mut Cursor<'a>, key: &str) -> Result<bool, Stop> {
        match (route, key) {
            (Route::Completions, "prompt") => self.prompt = field(at, prompt::read)?,
            (Route::Generate, _) => {
                let (prompt, max_tokens) = (&mut self.prompt, &mut self.max_tokens);
                return generate::member(at, key, prompt, max_tokens, &mut self.apart);
            }
            (Route::Completions, "prompt_embeds") => self.has_embeds = at.raw()? != "null",
            (Route::Chat | Route::Messages, "messages") => {
                let mut budget = Budget::new("messages");
                self.messages = field(at, |at| messages::read_list(at, &mut budget))?;
            }
            (Route::Responses, "input") => self.messages = field(at, messages::read_input)?,
            (Route::Responses, "previous_response_id") => {
                self.previous_response_id = field(at, |at| string(at, "previous_response_id"))?;
            }
            (Route::Chat | Route::Messages | Route::Responses, "tools") => {
                self.tools = field(at, |at| raw(at, "tools", b"[", "a list"))?;
            }
            (Route::Chat, "add_generation_prompt") => {
                self.add_generation_prompt = field(at, |at| boolean(at, "add_generation_prompt"))?;
            }
            (Route::Chat, "continue_final_message") => {
                self.continue_final_message =
                    field(at, |at| boolean(at, "continue_final_message"))?;
            }
            _ => return self.template(route, at, key),
        }
        Ok(true)
    }

    /// Reads `key` if it changes how the head of the prompt renders.
    fn template(&mut self, route: Route, at: &mut Cursor<'a>, key: &str) -> Result<bool, Stop> {
        let (name, starts, expected): (_, &'static [u8], _) = match (route, key) {
            (Route::Chat, "chat_template") => ("chat_template", b"\"", "a string"),
            (Route::Chat | Route::Messages, "chat_template_kwargs") => {
                ("chat_template_kwargs", b"{", "an object")
            }
            (Route::Chat, "documents") => ("documents", b"[", "a list"),
            (Route::Chat, "reasoning_effort") => ("reasoning_effort", b"\"", "a string"),
            (Route::Chat, "mm_processor_kwargs") => ("mm_processor_kwargs", b"{", "an object"),
            (Route::Messages, "system") => ("system", b"\"[", "a string or a list of blocks"),
            (Route::Responses, "instructions") => ("instructions", b"\"[", "a string"),
            (Route::Responses, "reasoning") => ("reasoning", b"{", "an object"),
            _ => return Ok(false),
        };
        let value = field(at, |at| raw(at, name, starts, expected))?;
        self.template.retain(|(other, _)| *other != name);
        self.template.push((name, value));
        Ok(true)
    }

    fn into_view(self, route: Route) -> Result<RequestView<'a>, BodyError> {
        Ok(RequestView {
            model: self.model?,
            stream: self.stream?.unwrap_or(false),
            include_usage: self.include_usage?.unwrap_or(false),
            max_tokens: {
                let (max_tokens, max_output_tokens) = (self.max_tokens?, self.max_output_tokens?);
                self.max_completion_tokens?
                    .or(max_tokens)
                    .or(max_output_tokens)
            },
            cache_salt: self.apart.with(self.cache_salt?),
            previous_response_id: self.previous_response_id?,
            prompt: match route {
                Route::Completions => match self.prompt? {
                    None if !self.has_embeds => return Err(BodyError::Missing { field: "prompt" }),
                    prompt => prompt.unwrap_or(Prompt::None),
                },
                Route::Chat | Route::Messages | Route::Responses => {
                    let messages = self.messages?;
                    if messages.is_none() && route != Route::Responses {
                        return Err(BodyError::Missing { field: "messages" });
                    }
                    let mut template = Vec::with_capacity(self.template.len());
                    for (name, value) in self.template {
                        template.extend(value?.map(|value| (name, value)));
                    }
                    template.sort_unstable_by_key(|(name, _)| *name);
                    Prompt::Chat(ChatView {
                        tools: self.tools?,
                        template,
                        messages: messages.unwrap_or_default(),
                        add_generation_prompt: self.add_generation_prompt?,
                        continue_final_message: self.continue_final_message?,
                    })
                }
                Route::Generate => self.prompt?.unwrap_or(Prompt::None),
                Route::Embeddings | Route::Other => Prompt::None,
            },
        })
    }
}

/// Reads one field; a wrong type is kept for later, with the value passed over.
pub(super) fn field<'a, T>(
    at: &mut Cursor<'a>,
    read: impl FnOnce(&mut Cursor<'a>) -> Result<T, Stop>,
) -> Result<Field<T>, Stop> {
    if at.eat_null() {
        return Ok(Ok(None));
    }
    let start = at.pos();
    match read(at) {
        Ok(value) => Ok(Ok(Some(value))),
        Err(Stop::Type(stop)) => {
            at.rewind(start);
            at.skip()?;
            Ok(Err(stop))
        }
        Err(stop) => Err(stop),
    }
}

/// Reads a string, or says that `name` must be one.
pub(super) fn string<'a>(at: &mut Cursor<'a>, name: &'static str) -> Result<Cow<'a, str>, Stop> {
    if at.peek() != Some(b'"') {
        return Err(Stop::wrong(name, "a string"));
    }
    Ok(at.string()?)
}

/// Takes a value as it stands if its first byte is among `starts`.
fn raw<'a>(
    at: &mut Cursor<'a>,
    name: &'static str,
    starts: &[u8],
    expected: &'static str,
) -> Result<Raw<'a>, Stop> {
    if !at.peek().is_some_and(|byte| starts.contains(&byte)) {
        return Err(Stop::wrong(name, expected));
    }
    Ok(Raw(at.raw()?))
}

fn stream_options(at: &mut Cursor<'_>) -> Result<Option<bool>, Stop> {
    if at.peek() != Some(b'{') {
        return Err(Stop::wrong("stream_options", "an object"));
    }
    let mut include_usage = Ok(None);
    at.object(|at, key| {
        if key == "include_usage" {
            include_usage = field(at, |at| boolean(at, "stream_options.include_usage"))?;
            return Ok::<(), Stop>(());
        }
        Ok(at.skip()?)
    })?;
    include_usage.map_err(Stop::Type)
}
