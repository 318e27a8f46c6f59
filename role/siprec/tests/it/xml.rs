//! Metadata as another program reads them: by a whole XML parser.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// An element.
#[derive(Debug, Default, Clone)]
pub struct Element {
    pub name: String,
    pub attributes: Vec<(String, String)>,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    /// Parses a document; its root.
    pub fn parse(xml: &str) -> Self {
        let mut reader = Reader::from_str(xml);
        reader.config_mut().check_end_names = true;
        let mut open = vec![Self::default()];
        loop {
            match reader.read_event().expect("well-formed") {
                Event::Start(start) => open.push(begin(&start)),
                Event::Empty(start) => {
                    let child = begin(&start);
                    open.last_mut().unwrap().children.push(child);
                }
                Event::End(_) => {
                    let done = open.pop().unwrap();
                    open.last_mut().unwrap().children.push(done);
                }
                Event::Text(text) => {
                    open.last_mut().unwrap().text.push_str(text.trim_matches(['\r', '\n']));
                }
                Event::GeneralRef(entity) => {
                    let name: &str = &entity;
                    let number = entity.resolve_char_ref().unwrap();
                    let c = number.unwrap_or_else(|| match name {
                        "amp" => '&',
                        "lt" => '<',
                        "gt" => '>',
                        "quot" => '"',
                        "apos" => '\'',
                        other => panic!("entity {other}"),
                    });
                    open.last_mut().unwrap().text.push(c);
                }
                Event::Eof => break,
                _ => {}
            }
        }
        assert_eq!(open.len(), 1, "an element is not closed");
        open.pop().unwrap().children.pop().expect("a root")
    }

    pub fn all(&self, name: &str) -> Vec<&Self> {
        self.children.iter().filter(|child| child.name == name).collect()
    }

    pub fn one(&self, name: &str) -> &Self {
        let found = self.all(name);
        assert_eq!(found.len(), 1, "{name} in {self:?}");
        found[0]
    }

    pub fn attribute(&self, name: &str) -> &str {
        let found = self.attributes.iter().find(|(n, _)| n == name);
        &found.unwrap_or_else(|| panic!("{name} of {self:?}")).1
    }
}

fn begin(start: &BytesStart<'_>) -> Element {
    let attributes = start.attributes().map(|attribute| {
        let attribute = attribute.expect("an attribute");
        let value = quick_xml::escape::unescape(&attribute.value);
        (attribute.key.as_ref().to_owned(), value.unwrap().into_owned())
    });
    Element {
        name: start.name().as_ref().to_owned(),
        attributes: attributes.collect(),
        ..Element::default()
    }
}
