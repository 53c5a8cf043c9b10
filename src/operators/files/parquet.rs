//! Parquet: columns of a type each, compressed.
//!
//! What other programs write is read in full: nested groups become records, lists lists, maps records.
//! What has no form of its own here becomes text: dates, times and decimals as they are written down.
//! What is written has one column a field: truth values, whole numbers, numbers or text, whichever all
//! of its rows agree on; lists and records stand in it as JSON text.

use std::collections::BTreeMap;

use parquet::basic::{Compression, ConvertedType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::record::{Field, Row};
use parquet::schema::types::{Type, TypePtr};

use crate::engine::{Args, CallError, Context};
use crate::lang::Value;
use crate::store::Objects;

use super::{Made, Source, each_row, file, json};

/// Rows of a group: what is held while writing.
const GROUP: usize = 64 << 10;
/// The name of the group that all columns are in, as other writers call it too.
const ROOT: &str = "schema";

pub(super) fn read(args: &Args, context: &Context) -> Result<Value, CallError> {
    let source = Source::open(args, &*context.objects)?;
    let wrong = |err: ParquetError| {
        CallError::row(format!("{} is not a Parquet file that can be read: {err}", source.name))
    };
    let bytes = bytes::Bytes::from_owner(source.bytes.clone());
    let reader = SerializedFileReader::new(bytes).map_err(wrong)?;
    let mut made = Made::new(context);
    for row in reader.get_row_iter(None).map_err(wrong)? {
        made.add(&record(row.map_err(wrong)?)?)?;
    }
    Ok(made.table())
}

fn record(row: Row) -> Result<Value, CallError> {
    let mut fields = BTreeMap::new();
    for (name, field) in row.into_columns() {
        fields.insert(name, value(field)?);
    }
    Ok(Value::Record(fields))
}

fn value(field: Field) -> Result<Value, CallError> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(truth) => Value::Bool(truth),
        Field::Byte(whole) => Value::Int(whole.into()),
        Field::Short(whole) => Value::Int(whole.into()),
        Field::Int(whole) => Value::Int(whole.into()),
        Field::Long(whole) => Value::Int(whole),
        Field::UByte(whole) => Value::Int(whole.into()),
        Field::UShort(whole) => Value::Int(whole.into()),
        Field::UInt(whole) => Value::Int(whole.into()),
        Field::ULong(whole) => i64::try_from(whole).map(Value::Int).map_err(|_| {
            CallError::row(format!("{whole} is too large: whole numbers end at {}", i64::MAX))
        })?,
        Field::Float16(float) => Value::Float(float.to_f64()),
        Field::Float(float) => Value::Float(float.into()),
        Field::Double(float) => Value::Float(float),
        Field::Str(text) => Value::Str(text),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Value::str(text),
            Err(_) => {
                return Err(CallError::row(
                    "a column holds bytes that are no text; leave it out before it is read here",
                ));
            }
        },
        Field::Group(row) => record(row)?,
        Field::ListInternal(list) => {
            Value::List(list.elements().iter().cloned().map(value).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let mut fields = BTreeMap::new();
            for (key, field) in map.entries() {
                let name = match value(key.clone())? {
                    Value::Str(name) => name,
                    other => other.to_json().to_string(),
                };
                fields.insert(name, value(field.clone())?);
            }
            Value::Record(fields)
        }
        // Written down as in JSON: dates and times, numbers with a fixed point.
        other => Value::from_json(&other.to_json_value()),
    })
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// Only null so far.
    Empty,
    Bool,
    Int,
    Float,
    Text,
}

impl Column {
    fn of(value: &Value) -> Column {
        match value {
            Value::Null => Column::Empty,
            Value::Bool(_) => Column::Bool,
            Value::Int(_) => Column::Int,
            Value::Float(_) => Column::Float,
            _ => Column::Text,
        }
    }

    fn with(self, other: Column) -> Column {
        match (self, other) {
            (Column::Empty, of) | (of, Column::Empty) => of,
            (a, b) if a == b => a,
            (Column::Int | Column::Float, Column::Int | Column::Float) => Column::Float,
            _ => Column::Text,
        }
    }
}

pub(super) fn write(args: &Args, context: &Context) -> Result<Value, CallError> {
    let mut columns: BTreeMap<String, Column> = BTreeMap::new();
    each_row(args, context, |place, row| {
        let Value::Record(fields) = row else {
            return Err(CallError::row(format!("row {place} is no record: it has no columns")));
        };
        for (name, value) in fields {
            match columns.get_mut(name) {
                Some(column) => *column = column.with(Column::of(value)),
                None => drop(columns.insert(name.clone(), Column::of(value))),
            }
        }
        Ok(())
    })?;
    let refused = |err: ParquetError| CallError::row(format!("the rows cannot be written: {err}"));
    let properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_created_by("claw".to_string())
        .build();
    let schema = schema(&columns).map_err(refused)?;
    let mut out =
        SerializedFileWriter::new(Vec::new(), schema, properties.into()).map_err(refused)?;
    let mut rows: Vec<Value> = Vec::new();
    each_row(args, context, |_, row| {
        rows.push(row.clone());
        if rows.len() == GROUP {
            group(&mut out, &columns, &rows, &*context.objects)?;
            rows.clear();
        }
        Ok(())
    })?;
    if !rows.is_empty() {
        group(&mut out, &columns, &rows, &*context.objects)?;
    }
    file(args, context, &out.into_inner().map_err(refused)?)
}

fn schema(columns: &BTreeMap<String, Column>) -> Result<TypePtr, ParquetError> {
    let column = |(name, column): (&String, &Column)| {
        let (physical, converted) = match column {
            Column::Bool => (Physical::BOOLEAN, ConvertedType::NONE),
            Column::Int => (Physical::INT64, ConvertedType::NONE),
            Column::Float => (Physical::DOUBLE, ConvertedType::NONE),
            Column::Text | Column::Empty => (Physical::BYTE_ARRAY, ConvertedType::UTF8),
        };
        let column = Type::primitive_type_builder(name, physical)
            .with_converted_type(converted)
            .with_repetition(Repetition::OPTIONAL)
            .build()?;
        Ok(column.into())
    };
    let columns = columns.iter().map(column).collect::<Result<Vec<TypePtr>, ParquetError>>()?;
    Ok(Type::group_type_builder(ROOT).with_fields(columns).build()?.into())
}

fn group(
    out: &mut SerializedFileWriter<Vec<u8>>,
    columns: &BTreeMap<String, Column>,
    rows: &[Value],
    objects: &dyn Objects,
) -> Result<(), CallError> {
    let refused = |err: ParquetError| CallError::row(format!("the rows cannot be written: {err}"));
    let mut group = out.next_row_group().map_err(refused)?;
    for (name, column) in columns {
        let cell = |row| -> Option<&Value> {
            let row: &Value = row;
            row.get(name).filter(|value| **value != Value::Null)
        };
        let values: Vec<&Value> = rows.iter().filter_map(cell).collect();
        let there: Vec<i16> = rows.iter().map(|row| i16::from(cell(row).is_some())).collect();
        write_column(&mut group, *column, &values, &there, objects)?;
    }
    group.close().map_err(refused)?;
    Ok(())
}

/// Writes one column; `there` says of each row whether it has a value.
fn write_column(
    group: &mut SerializedRowGroupWriter<'_, Vec<u8>>,
    column: Column,
    values: &[&Value],
    there: &[i16],
    objects: &dyn Objects,
) -> Result<(), CallError> {
    let refused = |err: ParquetError| CallError::row(format!("the rows cannot be written: {err}"));
    let missing = || CallError::row("the rows cannot be written: a column is missing");
    let mut writer = group.next_column().map_err(refused)?.ok_or_else(missing)?;
    let there = Some(there);
    let written = match column {
        Column::Bool => {
            let values: Vec<bool> = values.iter().filter_map(|value| value.as_bool()).collect();
            writer.typed::<BoolType>().write_batch(&values, there, None)
        }
        Column::Int => {
            let values: Vec<i64> = values.iter().filter_map(|value| value.as_int()).collect();
            writer.typed::<Int64Type>().write_batch(&values, there, None)
        }
        Column::Float => {
            let number = |value: &&Value| match value {
                Value::Int(whole) => *whole as f64,
                Value::Float(float) => *float,
                _ => f64::NAN,
            };
            let values: Vec<f64> = values.iter().map(number).collect();
            writer.typed::<DoubleType>().write_batch(&values, there, None)
        }
        Column::Text | Column::Empty => {
            let mut texts = Vec::with_capacity(values.len());
            for value in values {
                texts.push(match value {
                    Value::Str(text) => ByteArray::from(text.as_str()),
                    other => ByteArray::from(json::plain(other, objects)?.to_string().into_bytes()),
                });
            }
            writer.typed::<ByteArrayType>().write_batch(&texts, there, None)
        }
    };
    written.map_err(refused)?;
    writer.close().map_err(refused)
}
