//! CSV with a line of column names. Fields may stand in quotes; line breaks within them may not.

use std::borrow::Cow;

use super::ConvertError;
use super::fields::{Field, FieldMap, Texts};
use super::format::Format;
use crate::trace::fields::quoted;

/// Where the fields of a map stand.
pub(super) struct Columns {
    names: Vec<String>,
    map: FieldMap,
    positions: [Option<usize>; 6],
}

impl Columns {
    /// Finds the columns of `asked` and of the format in the first line of a file.
    pub(super) fn of(
        path: &str,
        header: &str,
        format: Format,
        asked: FieldMap,
    ) -> Result<Columns, ConvertError> {
        let names: Vec<String> = split(header).iter().map(|name| name.trim().to_owned()).collect();
        let own = match format {
            Format::Tidegate => own(path, &names)?,
            _ => format.map(),
        };
        let map = asked.or(own);
        if !map.has_time() {
            let found = shown(&names);
            return Err(ConvertError::NoTimeField { path: path.to_owned(), found });
        }
        let mut positions = [None; 6];
        let fields = [&map.time, &map.end, &map.duration, &map.service, &map.prompt, &map.output];
        for (position, field) in positions.iter_mut().zip(fields) {
            let Some(field) = field else { continue };
            *position = Some(position_of(path, &names, &field.path)?);
        }
        Ok(Columns { names, map, positions })
    }

    pub(super) fn map(&self) -> &FieldMap {
        &self.map
    }

    /// How many fields a line has.
    pub(super) fn count(&self) -> usize {
        self.names.len()
    }

    pub(super) fn texts<'a>(&self, fields: &[Cow<'a, str>]) -> Texts<'a> {
        let [time, end, duration, service, prompt, output] =
            self.positions.map(|position| fields.get(position?).cloned());
        Texts { time, end, duration, service, prompt, output }
    }

    /// The field of a column by its name.
    pub(super) fn field<'a>(&self, fields: &[Cow<'a, str>], name: &str) -> Option<Cow<'a, str>> {
        let position = self.names.iter().position(|column| column == name)?;
        fields.get(position).cloned()
    }
}

/// The columns of our own requests.
fn own(path: &str, names: &[String]) -> Result<FieldMap, ConvertError> {
    let has = |name: &str| names.iter().any(|column| column == name);
    let field = |name: &str| has(name).then(|| Field::named(name));
    let map = FieldMap {
        time: Some(Field::named("t_s")),
        end: None,
        duration: field("duration_s"),
        service: ["model", "app", "function"].into_iter().find_map(field),
        prompt: field("prompt_tokens"),
        output: field("output_tokens"),
    };
    if map.duration.is_none() && !map.has_tokens() {
        return Err(ConvertError::NoRequestsInIt { path: path.to_owned() });
    }
    Ok(map)
}

fn position_of(path: &str, names: &[String], name: &str) -> Result<usize, ConvertError> {
    names.iter().position(|column| column == name).ok_or_else(|| ConvertError::MissingColumn {
        path: path.to_owned(),
        missing: name.to_owned(),
        hint: match tidegate_settings::nearest(name, names.iter().map(String::as_str)) {
            Some(nearest) => format!("did you mean `{nearest}`?"),
            None => format!("found {}", shown(names)),
        },
    })
}

fn shown(names: &[String]) -> String {
    let shown: Vec<String> = names.iter().take(12).map(|name| quoted(name.as_bytes())).collect();
    let more = names.len().saturating_sub(12);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

/// The fields of a line.
pub(super) fn split(line: &str) -> Vec<Cow<'_, str>> {
    if !line.contains('"') {
        return line.split(',').map(Cow::Borrowed).collect();
    }
    let mut fields = Vec::new();
    let mut rest = line;
    loop {
        let Some(inner) = rest.strip_prefix('"') else {
            match rest.split_once(',') {
                Some((field, behind)) => {
                    fields.push(Cow::Borrowed(field));
                    rest = behind;
                    continue;
                }
                None => {
                    fields.push(Cow::Borrowed(rest));
                    return fields;
                }
            }
        };
        let bytes = inner.as_bytes();
        let mut end = 0;
        let mut has_quotes = false;
        while end < bytes.len() {
            match (bytes[end], bytes.get(end + 1)) {
                (b'"', Some(b'"')) => {
                    has_quotes = true;
                    end += 2;
                }
                (b'"', _) => break,
                _ => end += 1,
            }
        }
        let end = end.min(bytes.len());
        fields.push(match has_quotes {
            true => Cow::Owned(inner[..end].replace("\"\"", "\"")),
            false => Cow::Borrowed(&inner[..end]),
        });
        let behind = inner.get(end + 1..).unwrap_or_default();
        match behind.split_once(',') {
            Some((_, behind)) => rest = behind,
            None => return fields,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn fields_may_stand_in_quotes() {
        for (line, expected) in [
            ("a,b,,c", &["a", "b", "", "c"][..]),
            (r#""a,b",c"#, &["a,b", "c"]),
            (r#"x,"say ""hi""","#, &["x", r#"say "hi""#, ""]),
            (r#""open"#, &["open"]),
            (r#""a"b,c"#, &["a", "c"]),
            ("", &[""]),
        ] {
            assert_eq!(split(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn what_a_writer_of_csv_wrote_is_read_back(fields in prop::collection::vec("[a-z\", ]{0,5}", 2..5)) {
            let mut writer = csv::Writer::from_writer(Vec::new());
            writer.write_record(&fields).unwrap();
            let line = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            prop_assert_eq!(split(line.trim_end_matches('\n')), fields);
        }
    }
}
