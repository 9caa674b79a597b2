//! Scalars come in; a TensorBoard event file (TFRecords of protobuf `Event`s) goes out. Written by hand: the crates for it drag old dependencies.
//!
//! Formats: tensorflow/core/lib/io/record_writer.h (framing), tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto (fields).

use std::io::{self, Write};

/// The record that every event file begins with.
pub fn file_version(wall_time: f64) -> Vec<u8> {
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time);
    put_bytes(&mut event, 3, b"brain.Event:2");
    event
}

/// One `Event` with a summary of scalars at a step.
pub fn scalars(wall_time: f64, step: u64, values: &[(&str, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut scalar = Vec::new();
        put_bytes(&mut scalar, 1, tag.as_bytes());
        put_float(&mut scalar, 2, *value as f32);
        put_bytes(&mut summary, 1, &scalar);
    }
    let mut event = Vec::new();
    put_double(&mut event, 1, wall_time);
    put_key(&mut event, 2, WireType::Varint);
    put_varint(&mut event, step);
    put_bytes(&mut event, 5, &summary);
    event
}

/// Writes one record: length, its checksum, the bytes, their checksum. Returns how many bytes that took.
pub fn write_record(out: &mut impl Write, data: &[u8]) -> io::Result<u64> {
    let length = (data.len() as u64).to_le_bytes();
    out.write_all(&length)?;
    out.write_all(&masked_crc32c(&length).to_le_bytes())?;
    out.write_all(data)?;
    out.write_all(&masked_crc32c(data).to_le_bytes())?;
    Ok(data.len() as u64 + 16)
}

// Wire types of the protobuf encoding.
#[derive(Clone, Copy)]
enum WireType {
    Varint = 0,
    Fixed64 = 1,
    Bytes = 2,
    Fixed32 = 5,
}

fn put_key(out: &mut Vec<u8>, field: u64, wire: WireType) {
    put_varint(out, (field << 3) | wire as u64);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_key(out, field, WireType::Fixed64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_key(out, field, WireType::Fixed32);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, WireType::Bytes);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

// Rotated and offset, because a checksum of bytes that hold a checksum is weak (tensorflow/core/lib/hash/crc32c.h).
fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes
        .iter()
        .fold(!0, |crc, byte| CRC_TABLE[((crc ^ u32::from(*byte)) & 0xff) as usize] ^ (crc >> 8))
}

// CRC-32C, Castagnoli: the polynomial 0x1edc6f41, reflected.
const CRC_TABLE: [u32; 256] = {
    let mut table = [0u32; 256];
    let mut index = 0;
    while index < 256 {
        let mut crc = index as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (if crc & 1 == 1 { 0x82f6_3b78 } else { 0 });
            bit += 1;
        }
        table[index] = crc;
        index += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 3720 (iSCSI), appendix B.4, and the usual check value.
    #[test]
    fn crc32c_vectors() {
        let ascending: Vec<u8> = (0..32).collect();
        let check = |bytes: &[u8], expected: u32| assert_eq!(crc32c(bytes), expected);
        check(b"", 0);
        check(b"123456789", 0xe306_9283);
        check(&[0; 32], 0x8a91_36aa);
        check(&[0xff; 32], 0x62a8_ab43);
        check(&ascending, 0x46dd_794e);
    }

    // The bytes that `tensorboard.compat.proto` and `tensorboard.summary.writer` give for the same values.
    #[test]
    fn bytes_of_a_scalar() {
        let event = scalars(1.0, 300, &[("a", 0.5)]);
        let summary = [0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f];
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0x10, 0xac, 0x02, 0x2a, 10];
        expected.extend_from_slice(&summary);
        assert_eq!(event, expected);

        let mut record = Vec::new();
        assert_eq!(write_record(&mut record, &event).unwrap(), record.len() as u64);
        assert_eq!(&record[..8], &(event.len() as u64).to_le_bytes());
        assert_eq!(&record[12..12 + event.len()], &event);
    }
}
