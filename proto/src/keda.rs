//! The generated messages and service of KEDA's external scaler. Their documentation is in `keda/externalscaler.proto`.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated code"
)]

tonic::include_proto!("externalscaler");
