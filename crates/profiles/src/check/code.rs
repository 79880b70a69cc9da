//! The kinds of findings: their stable codes, what each tool does, what helps.

/// What is wrong. The codes are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Code {
    /// Two sections with one header.
    DuplicateSection,
    /// A key twice in a section.
    DuplicateKey,
    /// A comment with blanks before it, below a header.
    IndentedCommentAfterHeader,
    /// A comment with blanks before it, below a key.
    IndentedCommentAfterKey,
    /// A comment behind a value.
    InlineComment,
    /// A byte order mark at the beginning.
    ByteOrderMark,
    /// Text above the first header.
    TextBeforeSection,
    /// A line with neither `=` nor `:`.
    NoDelimiter,
    /// `key: value`.
    ColonDelimiter,
    /// Quotes in a header.
    QuotedHeader,
    /// Blanks inside the brackets.
    PaddedHeader,
    /// A byte that is not UTF-8.
    NotUtf8,
    /// A profile with credentials and without a region.
    NoRegion,
    /// `source_profile` names none that exists.
    MissingSourceProfile,
    /// Our profile, and its session's time is over.
    Expired,
    /// Our profile, and its session was ended.
    SessionOver,
    /// Our profile, and the service does not know its session.
    UnknownSession,
    /// Keys in the credentials file, a command in the config file.
    TwoForms,
    /// Keys without an end in plain text.
    LongLivedSecret,
    /// Others may read or write the file.
    FileMode,
    /// Others may put another file in its place.
    FolderMode,
    /// The file or the folder is somebody else's.
    OtherOwner,
    /// The file lies in a git work tree, itself or by a link.
    InWorkTree,
}

struct Words {
    code: &'static str,
    botocore: &'static str,
    rust_sdk: &'static str,
    hint: &'static str,
}

const BOTH_WORK: &str = "works";

impl Code {
    /// Every kind, in the order of their lines in documents.
    pub const ALL: [Self; 23] = [
        Self::DuplicateSection,
        Self::DuplicateKey,
        Self::IndentedCommentAfterHeader,
        Self::IndentedCommentAfterKey,
        Self::InlineComment,
        Self::ByteOrderMark,
        Self::TextBeforeSection,
        Self::NoDelimiter,
        Self::ColonDelimiter,
        Self::QuotedHeader,
        Self::PaddedHeader,
        Self::NotUtf8,
        Self::NoRegion,
        Self::MissingSourceProfile,
        Self::Expired,
        Self::SessionOver,
        Self::UnknownSession,
        Self::TwoForms,
        Self::LongLivedSecret,
        Self::FileMode,
        Self::FolderMode,
        Self::OtherOwner,
        Self::InWorkTree,
    ];

    /// The stable code.
    pub fn as_str(self) -> &'static str {
        self.words().code
    }

    /// What botocore, and with it the AWS CLI, does.
    pub fn botocore(self) -> &'static str {
        self.words().botocore
    }

    /// What the Rust SDK does.
    pub fn rust_sdk(self) -> &'static str {
        self.words().rust_sdk
    }

    /// What helps.
    pub fn hint(self) -> &'static str {
        self.words().hint
    }

    fn words(self) -> Words {
        let (code, botocore, rust_sdk, hint) = match self {
            Self::DuplicateSection => {
                ("DuplicateSection", "whole file fails", "merged, last wins", "join the two sections")
            }
            Self::DuplicateKey => {
                ("DuplicateKey", "whole file fails", "merged, last wins", "delete one of the two lines")
            }
            Self::IndentedCommentAfterHeader => (
                "IndentedCommentAfterHeader",
                "comment ignored",
                "whole file fails",
                "begin the comment in the first column",
            ),
            Self::IndentedCommentAfterKey => (
                "IndentedCommentAfterKey",
                "comment ignored",
                "part of the value",
                "begin the comment in the first column",
            ),
            Self::InlineComment => (
                "InlineComment",
                "kept in the value",
                "comment ignored",
                "put the comment on a line of its own",
            ),
            Self::ByteOrderMark => (
                "ByteOrderMark",
                "whole file fails",
                "whole file fails",
                "save the file as UTF-8 without a byte order mark",
            ),
            Self::TextBeforeSection => (
                "TextBeforeSection",
                "whole file fails",
                "whole file fails",
                "put the line below a header, or make it a comment",
            ),
            Self::NoDelimiter => (
                "NoDelimiter",
                "whole file fails",
                "whole file fails",
                "write `key = value`, or make it a comment",
            ),
            Self::ColonDelimiter => {
                ("ColonDelimiter", BOTH_WORK, "whole file fails", "write `=` for the colon")
            }
            Self::QuotedHeader => (
                "QuotedHeader",
                BOTH_WORK,
                "section ignored",
                "take a name without blanks and without quotes",
            ),
            Self::PaddedHeader => {
                ("PaddedHeader", "section not found", BOTH_WORK, "take the blanks out of the brackets")
            }
            Self::NotUtf8 => ("NotUtf8", "whole file fails", "whole file ignored", "save the file as UTF-8"),
            Self::NoRegion => (
                "NoRegion",
                "fails unless a region is given",
                "fails unless a region is given",
                "add `region = …` to the profile, or set `AWS_REGION`",
            ),
            Self::MissingSourceProfile => (
                "MissingSourceProfile",
                "profile fails",
                "profile fails",
                "correct `source_profile`, or add the profile it names",
            ),
            Self::Expired => (
                "Expired",
                "calls are refused",
                "calls are refused",
                "`sorry profiles fix` removes it; `sorry request` asks for a new session",
            ),
            Self::SessionOver => (
                "SessionOver",
                "calls are refused",
                "calls are refused",
                "`sorry profiles fix` removes it; `sorry request` asks for a new session",
            ),
            Self::UnknownSession => (
                "UnknownSession",
                "calls may be refused",
                "calls may be refused",
                "is it another deployment's (`--endpoint`)? `sorry profiles reset` removes all that `sorry` wrote",
            ),
            Self::TwoForms => ("TwoForms", "takes the keys", "takes the command", "keep one of the two"),
            Self::LongLivedSecret => (
                "LongLivedSecret",
                BOTH_WORK,
                BOTH_WORK,
                "whoever reads the file has the key for good: keep it encrypted, rotate it, or sign in instead",
            ),
            Self::FileMode => (
                "FileMode",
                BOTH_WORK,
                BOTH_WORK,
                "`chmod go-rwx` the file with secrets, `chmod go-w` the other",
            ),
            Self::FolderMode => ("FolderMode", BOTH_WORK, BOTH_WORK, "`chmod go-w` the folder"),
            Self::OtherOwner => (
                "OtherOwner",
                BOTH_WORK,
                BOTH_WORK,
                "find out whose it is with `ls -ld`; nothing of yours should lie there",
            ),
            Self::InWorkTree => {
                ("InWorkTree", BOTH_WORK, BOTH_WORK, "move it out of the work tree before somebody pushes it")
            }
        };
        Words { code, botocore, rust_sdk, hint }
    }
}
