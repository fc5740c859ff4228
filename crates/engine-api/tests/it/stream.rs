//! Are the same events read however the bytes are cut?

use engine_api::sse::{Event, SseReader};
use proptest::prelude::*;

const BOUND: usize = 64;

/// Reads `pieces`; `None` stands for `[DONE]`.
fn read(pieces: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, u64) {
    let mut events = Vec::new();
    let mut on = |event: Event<'_>| {
        events.push(match event {
            Event::Data(data) => Some(data.to_vec()),
            Event::Done => None,
        });
    };
    let mut reader = SseReader::new(BOUND);
    for piece in pieces {
        reader.push(piece, &mut on);
    }
    reader.finish(&mut on);
    (events, reader.passed_over())
}

fn check(stream: &str, expected: &[&str]) {
    let whole = read(&[stream.as_bytes()]);
    let seen: Vec<&str> = whole
        .0
        .iter()
        .map(|event| {
            event
                .as_deref()
                .map_or("<done>", |data| std::str::from_utf8(data).expect("text"))
        })
        .collect();
    assert_eq!(seen, expected, "{stream:?}");
    for cut in 0..=stream.len() {
        let (head, tail) = stream.as_bytes().split_at(cut);
        assert_eq!(read(&[head, tail]), whole, "{stream:?} cut at {cut}");
    }
    let bytes: Vec<&[u8]> = stream.as_bytes().chunks(1).collect();
    assert_eq!(read(&bytes), whole, "{stream:?} byte by byte");
}

#[test]
fn events_are_what_blank_lines_part() {
    check(
        "data: {\"a\":1}\n\ndata: [DONE]\n\n",
        &["{\"a\":1}", "<done>"],
    );
    check("data: a\r\n\r\ndata: b\r\n\r\n", &["a", "b"]);
    check("data: a\r\rdata: b\r\r", &["a", "b"]);
    check("data: a\n\r\ndata: b\r\n\n", &["a", "b"]);
    check("data:a\n\ndata:  b\n\n", &["a", " b"]);
    check("data: a\ndata: b\ndata:\ndata: c\n\n", &["a\nb\n\nc"]);
    check("event: x\nid: 7\nretry: 1\ndata: a\n\n", &["a"]);
    check(": keep-alive\n\n: again\n\ndata: a\n\n", &["a"]);
    check(": note\ndata: a\n: note\n\n", &["a"]);
    check("\n\n\r\n\ndata: a\n\n\n\n", &["a"]);
    check("data\n\ndata:\n\n", &["", ""]);
    check("datax: a\nda: b\n\n", &[]);
    check("event: only\n\n", &[]);
    check("", &[]);
}

#[test]
fn an_end_of_stream_ends_the_last_event() {
    check("data: a", &["a"]);
    check("data: a\n\ndata: [DONE]", &["a", "<done>"]);
    check("data: a\r", &["a"]);
}

#[test]
fn events_over_the_bound_are_passed_over_and_counted() {
    let long = "x".repeat(BOUND);
    let stream = format!("data: a\n\ndata: {long}\r\n\r\ndata: b\n\n");
    check(&stream, &["a", "b"]);
    assert_eq!(read(&[stream.as_bytes()]).1, 1);
    // With its line's end: exactly the bound, and one more.
    for (line_end, over) in [("\n", 0), ("\r\n", 1)] {
        let fits = format!("data: {}{line_end}\n", "x".repeat(BOUND - 7));
        assert_eq!(read(&[fits.as_bytes()]).1, over);
        let bytes: Vec<&[u8]> = fits.as_bytes().chunks(1).collect();
        assert_eq!(read(&bytes).1, over);
    }
}

#[test]
fn an_event_within_one_piece_is_not_copied() {
    let stream = b"data: {\"some\":\"event\"}\n\n: c\ndata: more\r\n\r\n";
    let inside = stream.as_ptr_range();
    SseReader::new(BOUND).push(stream, |event| {
        let Event::Data(data) = event else {
            panic!("not data")
        };
        assert!(inside.contains(&data.as_ptr()));
    });
}

#[test]
fn the_border_between_events_is_known() {
    let mut reader = SseReader::new(BOUND);
    assert!(reader.at_border());
    reader.push(b"data: a\n", |_| {});
    assert!(!reader.at_border());
    reader.push(b"\n", |_| {});
    assert!(reader.at_border());
}

proptest! {
    #[test]
    fn cuts_do_not_matter(
        stream in "(data: ?|event:|:|[ab]{0,30}|\r|\n|\r\n|\n\n){0,40}",
        cuts in prop::collection::vec(0.0..1.0, 0..6),
    ) {
        let bytes = stream.as_bytes();
        let mut at: Vec<usize> = cuts.iter().map(|cut: &f64| (cut * bytes.len() as f64) as usize).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let pieces: Vec<&[u8]> = at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        prop_assert_eq!(read(&pieces), read(&[bytes]));
    }
}
