//! Shared support of the conformance tests.
