//! How does a data plane ask where a request should go?
//!
//! Envoy's external processing protocol, one gRPC stream a request, the way an endpoint picker of the Gateway API
//! inference extension speaks it. The stream is translated into the same path as HTTP's ([`crate::path`]); what
//! comes back is a destination instead of a response.
//!
//! ```text
//!            request headers                        last body message, or trailers
//! Waiting ---------------------> Collecting --------------------------------------> Picked
//!    |  no body follows                 |  refused: one immediate response             |  response headers
//!    +-----------------> Picked         +-----------------> Over                       v
//!                                                                                Responding
//!  stream ends anywhere: whatever is held is given back, once                          |  end of body, trailers,
//!                                                                                      |  or of the stream
//!                                                                                      v
//!                                                                                     Over
//! ```
//!
//! | state | message | said back |
//! | --- | --- | --- |
//! | Waiting | request headers, a body follows, full duplex | nothing yet |
//! | | the same, buffered | go on; the body is sent only then |
//! | | request headers, no body (or none shown to us) | destination |
//! | Collecting | body, not the last | nothing |
//! | | last body, full duplex | destination, then the body in pieces, the last one marked as the end |
//! | | body, buffered | destination |
//! | | trailers, full duplex | destination, the body without an end mark, the trailers |
//! | Picked | an end of the request told twice | nothing |
//! | | response headers | go on; where nobody looks at the body: do not send it |
//! | Responding | body | the same bytes, at once |
//! | | trailers | go on |
//! | any | what cannot be served | an immediate response, and the stream's end |
//!
//! Every message is answered as it comes: nothing is queued between the two directions, so back-pressure is the
//! connection's own, and one stream's failure ends that stream only.

mod answer;
mod exchange;
mod figures;
mod head;
mod health;
mod picker;
mod pool_figures;
mod process;
mod request;
mod response;
mod serve;
mod tally;
mod tls;

pub(crate) use picker::Report;
pub use picker::{Picker, PickerConfig};
pub(crate) use serve::{serve, serve_health};
pub use tls::{Certificates, TlsSettings};
