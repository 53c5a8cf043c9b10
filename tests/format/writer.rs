//! What random programs say: a walk through the grammar that keeps to names and types that are known.

use super::programs::Word;

/// Writes a program word by word.
#[derive(Default)]
pub struct Writer {
    dice: std::vec::IntoIter<u32>,
    words: Vec<Word>,
    /// Names of numbers that are known here.
    numbers: Vec<String>,
    /// Names of lists of `{ n: int, s: str }`.
    rows: Vec<String>,
    /// Names of the stages among them.
    stages: Vec<String>,
    /// Names of rows.
    row: Vec<String>,
    defs: Vec<String>,
    count: usize,
}

impl Writer {
    /// The words of the program that some dice decide.
    pub fn write(dice: Vec<u32>) -> Vec<Word> {
        let mut writer = Writer { dice: dice.into_iter(), ..Writer::default() };
        writer.file();
        writer.words
    }

    fn die(&mut self, sides: u32) -> u32 {
        self.dice.next().unwrap_or(0) % sides
    }

    fn word(&mut self, text: &str) {
        self.words.push(Word { text: text.to_string(), glued: false });
    }

    fn glued(&mut self, text: &str) {
        self.words.push(Word { text: text.to_string(), glued: true });
    }

    /// Words that stand between spaces; those that start with `~` touch what stands before them.
    fn say(&mut self, words: &str) {
        for word in words.split(' ') {
            match word.strip_prefix('~') {
                Some(word) => self.glued(word),
                None => self.word(word),
            }
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        let long = ["", "_name", "_that_is_of_quite_some_length"][self.die(3) as usize];
        format!("x{}{long}", self.count)
    }

    fn known(&mut self, names: fn(&Writer) -> &Vec<String>) -> Option<String> {
        let length = names(self).len() as u32;
        (length > 0).then(|| {
            let place = self.die(length) as usize;
            names(self)[place].clone()
        })
    }

    fn doc(&mut self) {
        for _ in 0..self.die(8).saturating_sub(5) {
            let number = self.words.len();
            let text = ["/// Doc", "///doc", "///   Doc `x`", "///"][self.die(4) as usize];
            self.word(&format!(
                "{text}{}",
                if text == "///" { String::new() } else { number.to_string() }
            ));
        }
    }

    /// `open item, item close`, with or without a comma at the end.
    fn list(&mut self, count: u32, item: &mut dyn FnMut(&mut Writer)) {
        for place in 0..count {
            if place > 0 {
                self.word(",");
            }
            item(self);
        }
        if count > 0 && self.die(3) == 0 {
            self.word(",");
        }
    }

    fn file(&mut self) {
        for _ in 0..self.die(3) {
            self.word("//! Doc of the file.");
        }
        self.doc();
        self.say("use std/persona");
        self.say("use std/skill as skills");
        for _ in 0..1 + self.die(9) {
            self.doc();
            match self.die(12) {
                0 | 1 => {
                    let defs = std::mem::take(&mut self.defs);
                    self.constant();
                    self.defs = defs;
                }
                2 => self.parameter(),
                3 => self.type_item(),
                4 | 5 => self.def(),
                6 => self.test(),
                _ => self.stage(),
            }
        }
        self.doc();
        self.say("stage people = persona ~.imagine ~( count :");
        self.constant_number(2);
        self.say(") stage errands = for p in people { skills ~.ground ~( persona : p ) }");
        let outputs = self.stages.clone();
        for output in outputs.iter().rev().take(1 + self.die(3) as usize) {
            self.say("output");
            self.word(output);
        }
        self.say("output errands");
        if self.die(2) == 0 {
            self.say("as \"out/errands.jsonl\"");
        }
    }

    fn constant(&mut self) {
        let name = self.name();
        self.say("let");
        self.word(&name);
        if self.die(2) == 0 {
            self.say(": int");
        }
        self.word("=");
        self.number(3);
        self.numbers.push(name);
    }

    /// A number that is known before anything runs.
    fn constant_number(&mut self, depth: u32) {
        let (row, defs) = (std::mem::take(&mut self.row), std::mem::take(&mut self.defs));
        self.number(depth);
        (self.row, self.defs) = (row, defs);
    }

    fn parameter(&mut self) {
        let name = self.name();
        self.say("param");
        self.word(&name);
        match self.die(5) {
            0 => self.say(": \"a\" | \"b\" | \"c\" = \"b\""),
            1 => self.say(
                ": Sandbox = sandbox ~( \"process\" , memory : 512MiB , time : 1.5h , network : off )",
            ),
            2 => self.say(": [ percent ] ? = [ 5% , 20% ]"),
            3 => self.say(": money = $2.50"),
            _ => {
                self.say(": int = 3 where 1 <=");
                self.word(&name);
                self.say("<= 100_000");
            }
        }
    }

    fn type_item(&mut self) {
        let name = self.name();
        self.say("type");
        self.word(&name);
        self.word("=");
        match self.die(3) {
            0 => self.say("\"one\" | \"two\" | \"three\""),
            _ => self.ty(3),
        }
    }

    fn ty(&mut self, depth: u32) {
        match if depth == 0 { 0 } else { self.die(6) } {
            0 | 1 => self.say("int"),
            2 => self.say("persona.Persona"),
            3 => {
                self.word("[");
                self.ty(depth - 1);
                self.word("]");
            }
            4 => {
                self.word("(");
                self.ty(depth - 1);
                self.word(")");
            }
            _ => {
                self.word("{");
                let count = self.die(6);
                self.list(count, &mut |writer| {
                    writer.doc();
                    let name = writer.name();
                    writer.word(&name);
                    writer.word(":");
                    writer.ty(depth - 1);
                });
                self.word("}");
            }
        }
        if self.die(4) == 0 {
            self.word("?");
        }
    }

    fn def(&mut self) {
        let name = self.name();
        self.say("def");
        self.word(&name);
        self.glued("(");
        self.doc();
        self.say("n : int");
        let more = self.die(6);
        for _ in 0..more {
            self.word(",");
            self.doc();
            let name = self.name();
            self.word(&name);
            self.say(": int =");
            self.constant_number(1);
        }
        self.say(") -> int {");
        let known = self.numbers.clone();
        let (rows, row) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.row));
        self.numbers.push("n".to_string());
        for _ in 0..self.die(3) {
            self.doc();
            self.constant();
        }
        // A sign would go on with the last binding.
        self.word("(");
        self.number(3);
        self.say(") }");
        (self.numbers, self.rows, self.row) = (known, rows, row);
        self.defs.push(name);
    }

    fn test(&mut self) {
        let name = self.name();
        self.say("test");
        self.word(&format!("\"{name} // holds\""));
        self.word("{");
        let known = self.numbers.clone();
        if let Some(stage) = self.known(|writer| &writer.stages) {
            self.doc();
            self.say("given");
            self.word(&stage);
            self.say("= [ { n : 1 , s : \"a\" } ]");
        }
        for _ in 0..self.die(3) {
            self.doc();
            self.constant();
        }
        for _ in 0..self.die(3) {
            self.doc();
            self.word("assert");
            self.truth(2);
        }
        self.word("}");
        self.numbers = known;
    }

    fn stage(&mut self) {
        let name = self.name();
        self.say("stage");
        self.word(&name);
        if self.die(4) == 0 {
            self.say(": [ { n : int , s : str } ]");
        }
        self.word("=");
        self.table(2);
        if self.die(3) == 0 {
            self.policies();
        }
        self.rows.push(name.clone());
        self.stages.push(name);
    }

    fn policies(&mut self) {
        self.say("with {");
        let mut count = self.die(POLICIES.len() as u32 + 1) as usize;
        let first = self.die(POLICIES.len() as u32) as usize;
        count = count.min(POLICIES.len() - first);
        let mut policies = POLICIES[first..first + count].iter();
        self.list(count as u32, &mut |writer| {
            policies.next().into_iter().for_each(|policy| writer.say(policy));
        });
        self.word("}");
    }

    /// A list of `{ n: int, s: str }`.
    fn table(&mut self, depth: u32) {
        let known = self.known(|writer| &writer.rows);
        match (if depth == 0 { 0 } else { self.die(9) }, known) {
            (0, Some(name)) => self.word(&name),
            (1, Some(name)) => {
                self.word(&name);
                for _ in 0..=self.die(2) {
                    self.say("where .n >");
                    self.number(depth - 1);
                }
            }
            (2, _) => {
                self.say("take ~(");
                self.table(depth - 1);
                self.say(", count :");
                self.constant_number(depth - 1);
                self.word(")");
            }
            (3, Some(name)) => {
                self.say("dedup ~(");
                self.word(&name);
                self.say(", on : .s )");
            }
            (4, _) => {
                self.word("(");
                self.table(depth - 1);
                self.word("+");
                self.table(depth - 1);
                self.word(")");
            }
            (5 | 6, Some(_)) => self.each(depth),
            (7, _) => {
                self.say("for k in 1 ..= 4 { try");
                self.say("3 with told { let draft =");
                self.number(depth - 1);
                self.say("accept { n : draft + k , s : \"{told}\" } when draft > 1");
                self.say("told =");
                self.word("\"more than {draft}\"");
                self.say("} }");
            }
            _ => {
                self.word("[");
                let count = 1 + self.die(4);
                self.list(count, &mut |writer| writer.record(depth));
                self.word("]");
            }
        }
    }

    fn each(&mut self, depth: u32) {
        let mut names = Vec::new();
        self.word("for");
        for place in 0..=self.die(3) {
            if place > 0 {
                self.word(",");
            }
            let name = self.name();
            self.word(&name);
            self.word("in");
            match self.known(|writer| &writer.rows) {
                Some(rows) => self.word(&rows),
                None => self.table(0),
            }
            names.push(name);
        }
        let known = self.row.len();
        self.row.extend(names);
        if self.die(2) == 0 {
            self.word("where");
            self.truth(2);
        }
        self.word("{");
        self.record(depth);
        self.word("}");
        self.row.truncate(known);
    }

    fn record(&mut self, depth: u32) {
        self.say("{ n :");
        self.number(depth);
        self.say(", s :");
        self.string(depth);
        if self.die(4) == 0 {
            self.word(",");
        }
        self.word("}");
    }

    fn number(&mut self, depth: u32) {
        match if depth == 0 { self.die(3) } else { self.die(14) } {
            0 => {
                let numbers = ["1", "0", "1_000", "42", "7", "-3", "- 2"];
                let number = numbers[self.die(numbers.len() as u32) as usize];
                self.say(number);
            }
            1 | 2 => match self.known(|writer| &writer.numbers) {
                Some(name) => self.word(&name),
                None => self.say("12"),
            },
            3 | 4 => match self.known(|writer| &writer.row) {
                Some(name) => {
                    self.word(&name);
                    self.glued(".n");
                }
                None => self.say("{ n : 3 } ~.n"),
            },
            5..=7 => {
                for _ in 0..=self.die(4) {
                    self.number(depth - 1);
                    let sign = ["+", "-", "*"][self.die(3) as usize];
                    self.word(sign);
                }
                self.number(0);
            }
            8 => {
                self.word("(");
                self.number(depth - 1);
                self.word(")");
            }
            9 => {
                self.word("if");
                self.truth(depth - 1);
                self.word("then");
                self.number(depth - 1);
                self.word("else");
                self.number(depth - 1);
            }
            10 => {
                self.word("[");
                let count = 1 + self.die(12);
                self.list(count, &mut |writer| writer.number(0));
                self.say("] ~[");
                self.word("0");
                self.word("]");
            }
            11 => {
                self.word("-");
                self.number(0);
            }
            12 => match self.known(|writer| &writer.defs) {
                Some(def) => {
                    self.word(&def);
                    self.say("~( n :");
                    self.number(depth - 1);
                    self.word(")");
                }
                None => self.say("5 % 3"),
            },
            _ => {
                self.number(depth - 1);
                self.say("% 7");
            }
        }
    }

    fn truth(&mut self, depth: u32) {
        match if depth == 0 { 0 } else { self.die(7) } {
            0 => self.say("true"),
            1 | 2 => {
                for _ in 0..=self.die(3) {
                    self.truth(depth - 1);
                    let word = ["and", "or", "and not"][self.die(3) as usize];
                    self.say(word);
                }
                self.truth(depth - 1);
            }
            3 => {
                self.say("1 <");
                self.number(depth - 1);
                self.say("<= 100");
            }
            4 => {
                self.word("not");
                self.number(depth - 1);
                self.word("==");
                self.number(depth - 1);
            }
            5 => {
                self.number(depth - 1);
                self.say("in [ 1 , 2 , 3 ]");
            }
            _ => {
                self.word("(");
                self.truth(depth - 1);
                self.word(")");
            }
        }
    }

    fn string(&mut self, depth: u32) {
        if depth > 0 && self.die(8) == 0 {
            self.string(depth - 1);
            self.word("+");
        }
        let strings = [
            "\"plain\"",
            "\"\"",
            "\"// no comment, {1 + 2} {{ \\\" \\n\"",
            "\"{ if true then \"a // b\" else \"{3}\" }\"",
            "\"a{ 1 // in a hole\n + 2 }b\"",
            "r\"\\raw {x} // \"",
            "\"\"\"\n      long {1} \"quotes\"\n        // and more   \n\n    \"\"\"",
            "r\"\"\"\n{\"a\": 1}\n\"\"\"",
        ];
        let string = strings[self.die(strings.len() as u32) as usize];
        self.word(string);
    }
}

/// Policies as words.
const POLICIES: &[&str] = &[
    "retries : 2",
    "on_error : drop ~( at_most : 5% )",
    "timeout : 2m",
    "resources : { cpu : 1 , memory : 2GiB }",
    "canary : 1_000 , gate : .failed_share < 10%",
    "cache : refresh",
    "budget : $20",
];
