//! Values of statements between JS and Rust, by the rules of better-sqlite3: bigints are INTEGER, numbers REAL, strings TEXT, byte arrays BLOB; INTEGER comes back as a number.

use napi::bindgen_prelude::{
    BigInt, Buffer, FromNapiValue, Null, ToNapiValue, TypeName, Uint8Array, ValidateNapiValue,
};
use napi::{ValueType, sys};

use crate::value::Value;

/// A `Value` as it crosses to and from JS.
pub struct Cell(pub Value);

impl TypeName for Cell {
    fn type_name() -> &'static str {
        "Cell"
    }

    fn value_type() -> ValueType {
        ValueType::Unknown
    }
}

impl ValidateNapiValue for Cell {}

impl FromNapiValue for Cell {
    unsafe fn from_napi_value(env: sys::napi_env, given: sys::napi_value) -> napi::Result<Self> {
        let mut kind = 0;
        // SAFETY: env and the value are those of the running call; napi_typeof writes one enum.
        unsafe { napi::check_status!(sys::napi_typeof(env, given, &mut kind))? };
        // SAFETY: as above; each conversion checks the type itself.
        let value = unsafe {
            match ValueType::from(kind) {
                ValueType::Null | ValueType::Undefined => Value::Null,
                ValueType::Number => Value::Real(f64::from_napi_value(env, given)?),
                ValueType::String => Value::Text(String::from_napi_value(env, given)?),
                ValueType::BigInt => {
                    let (value, lossless) = BigInt::from_napi_value(env, given)?.get_i64();
                    if !lossless {
                        return Err(refused("a bigint must fit into 64 bits"));
                    }
                    Value::Integer(value)
                }
                ValueType::Object => match Uint8Array::from_napi_value(env, given) {
                    Ok(bytes) => Value::Blob(bytes.to_vec()),
                    Err(_) => {
                        return Err(refused(
                            "only numbers, strings, bigints, buffers and null can be bound",
                        ));
                    }
                },
                _ => {
                    return Err(refused(
                        "only numbers, strings, bigints, buffers and null can be bound",
                    ));
                }
            }
        };
        Ok(Self(value))
    }
}

fn refused(message: &str) -> napi::Error {
    let error =
        crate::error::StoreError::new(crate::error::Code::InvalidArgument, message).not_written();
    napi::Error::from_reason(super::to_json(&error))
}

impl ToNapiValue for Cell {
    unsafe fn to_napi_value(env: sys::napi_env, given: Self) -> napi::Result<sys::napi_value> {
        // SAFETY: env is that of the running call, and each conversion makes a new JS value.
        unsafe {
            match given.0 {
                Value::Null => Null::to_napi_value(env, Null),
                Value::Integer(value) => f64::to_napi_value(env, value as f64),
                Value::Real(value) => f64::to_napi_value(env, value),
                Value::Text(text) => String::to_napi_value(env, text),
                Value::Blob(bytes) => Buffer::to_napi_value(env, Buffer::from(bytes)),
            }
        }
    }
}
