//! Where does one server-sent event end?

use memchr::memchr2;

/// Splits a byte stream into events; a piece border may fall anywhere. Holds at most `max_event_bytes`
/// of an unfinished event; a longer one is passed over and counted, never buffered.
#[derive(Debug)]
pub struct SseReader {
    max_event_bytes: usize,
    /// The beginning of an event whose end has not come yet.
    held: Vec<u8>,
    /// Lines of an event with several `data` lines, joined.
    joined: Vec<u8>,
    /// The next byte begins a line.
    line_start: bool,
    /// The last byte was a carriage return: a line feed right after it belongs to it.
    after_cr: bool,
    /// The event at hand is too long; its end is waited for.
    passing_over: bool,
    passed_over: u64,
}

/// One event's `data` payload, borrowed for the call.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    Data(&'a [u8]),
    /// `data: [DONE]`
    Done,
}

/// What a search for the blank line that ends an event found.
enum Found {
    /// The event's lines end at the first offset, the next event begins at the second.
    End(usize, usize),
    /// No end in here.
    Open,
}

impl SseReader {
    /// A reader at the beginning of a stream.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            max_event_bytes,
            held: Vec::new(),
            joined: Vec::new(),
            line_start: true,
            after_cr: false,
            passing_over: false,
            passed_over: 0,
        }
    }

    /// Feeds `bytes`; `on` is called once per complete event, in order. An event that lies within `bytes` and
    /// has one `data` line is not copied.
    pub fn push(&mut self, bytes: &[u8], mut on: impl FnMut(Event<'_>)) {
        let mut rest = self.finish_cr(bytes);
        loop {
            match self.find_end(rest) {
                Found::End(end, next) => {
                    self.complete(&rest[..end], &mut on);
                    rest = &rest[next..];
                }
                Found::Open => return self.hold(rest),
            }
        }
    }

    /// The stream ended: what is held counts as an event, as if its blank line had come.
    pub fn finish(&mut self, mut on: impl FnMut(Event<'_>)) {
        self.complete(&[], &mut on);
        self.line_start = true;
        self.after_cr = false;
    }

    /// Events that were longer than the bound, so far.
    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Whether the stream stands between two events.
    pub fn at_border(&self) -> bool {
        self.held.is_empty() && !self.passing_over
    }

    /// Takes the line feed that belongs to the carriage return the last piece ended with.
    fn finish_cr<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        if bytes.is_empty() || !std::mem::take(&mut self.after_cr) {
            return bytes;
        }
        let Some(rest) = bytes.strip_prefix(b"\n") else {
            return bytes;
        };
        // Within an event it counts towards the bound, as it does where both stand in one piece.
        if !self.at_border() {
            self.hold(b"\n");
        }
        rest
    }

    fn find_end(&mut self, bytes: &[u8]) -> Found {
        let mut at = 0;
        loop {
            let Some(offset) = memchr2(b'\n', b'\r', &bytes[at..]) else {
                self.line_start &= at == bytes.len();
                return Found::Open;
            };
            let blank = self.line_start && offset == 0;
            let line_end = at + offset;
            at = line_end + 1;
            if bytes[line_end] == b'\r' {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.line_start = true;
            if blank {
                return Found::End(line_end, at);
            }
        }
    }

    fn hold(&mut self, bytes: &[u8]) {
        if self.passing_over {
            return;
        }
        if self.held.len() + bytes.len() > self.max_event_bytes {
            self.passing_over = true;
            self.held = Vec::new();
            return;
        }
        self.held.extend_from_slice(bytes);
    }

    /// `tail` is the last of an event's lines; the first may be held.
    fn complete(&mut self, tail: &[u8], on: &mut impl FnMut(Event<'_>)) {
        let borrowed = self.at_border();
        if borrowed && tail.len() <= self.max_event_bytes {
            return dispatch(tail, &mut self.joined, on);
        }
        self.hold(tail);
        if self.passing_over {
            self.passing_over = false;
            self.passed_over += 1;
            return;
        }
        dispatch(&self.held, &mut self.joined, on);
        self.held.clear();
    }
}

/// Hands out the `data` of an event's lines; comments and other fields are passed over.
fn dispatch(mut lines: &[u8], joined: &mut Vec<u8>, on: &mut impl FnMut(Event<'_>)) {
    let mut data: Option<&[u8]> = None;
    let mut several = false;
    while !lines.is_empty() {
        let end = memchr2(b'\n', b'\r', lines).unwrap_or(lines.len());
        let (line, rest) = lines.split_at(end);
        lines = rest.get(1..).unwrap_or_default();
        let Some(value) = data_of(line) else { continue };
        match data {
            None => data = Some(value),
            Some(first) => {
                if !several {
                    joined.clear();
                    joined.extend_from_slice(first);
                }
                several = true;
                joined.push(b'\n');
                joined.extend_from_slice(value);
            }
        }
    }
    match data {
        Some(_) if several => on(Event::Data(joined)),
        Some(b"[DONE]") => on(Event::Done),
        Some(data) => on(Event::Data(data)),
        None => {}
    }
}

/// The value of a `data` line, without the one space that may follow the colon.
fn data_of(line: &[u8]) -> Option<&[u8]> {
    let value = match line.strip_prefix(b"data")? {
        [] => &[],
        [b':', value @ ..] => value,
        _ => return None,
    };
    Some(value.strip_prefix(b" ").unwrap_or(value))
}
