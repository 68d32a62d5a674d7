//! Everything that the tests and the demo share: a laboratory of network namespaces with real
//! traffic and independent observers, and a reference NAT. The laboratory needs root and Linux.
//!
//! A test that cannot build its laboratory has failed: these functions panic with a message that
//! says what was attempted, they do not return errors for a test to pass on.
#![expect(clippy::expect_used, reason = "test code: a broken laboratory must stop the test loudly")]

pub mod lab;
pub mod model;
