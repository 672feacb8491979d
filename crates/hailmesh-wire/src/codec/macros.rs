//! Declarations: a struct or an enumeration and its encoding, in one.

/// The codec of a declared field: the one after `as`, or its type itself.
macro_rules! codec_of {
    ($ty:ty) => {
        $ty
    };
    ($ty:ty, $codec:ty) => {
        $codec
    };
}

/// Declares a struct and its array on the wire, in one. `pub field: Type` uses the
/// type as its own codec, `pub field: Type as Codec` another. After the clause may come
/// a function that checks rules between fields.
macro_rules! record {
    (
        $(#[$meta:meta])*
        $vis:vis struct $name:ident ($clause:literal $(, $rules:path)?) {
            $( $(#[$field_meta:meta])* $field_vis:vis $field:ident: $ty:ty $(as $codec:ty)? ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq)]
        $vis struct $name {
            $( $(#[$field_meta])* $field_vis $field: $ty, )*
        }

        impl $crate::codec::Codec for $name {
            type Value = Self;

            fn write(value: &Self, out: &mut $crate::codec::Writer) {
                let mut record = out.record();
                $( record.put::<$crate::codec::codec_of!($ty $(, $codec)?)>(&value.$field); )*
                record.close();
            }

            fn read(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                let mut record = input.record($clause)?;
                let value = Self {
                    $( $field: record.take::<$crate::codec::codec_of!($ty $(, $codec)?)>(stringify!($field))?, )*
                };
                record.close()?;
                $( $rules(&value)?; )?
                Ok(value)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))
                    $( .field(
                        stringify!($field),
                        &$crate::codec::Shown::<$crate::codec::codec_of!($ty $(, $codec)?)>(&self.$field),
                    ) )*
                    .finish()
            }
        }
    };
}

/// Declares a closed enumeration: a code on the wire and a name for people. Codes that
/// are not listed are refused.
macro_rules! codes {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $code:literal $text:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant = $code, )*
        }

        impl $name {
            /// Every value, in the order of the codes.
            $vis const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// The number on the wire.
            #[must_use]
            $vis const fn code(self) -> u8 {
                self as u8
            }

            /// The value with this number, if there is one.
            #[must_use]
            $vis const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $( $code => Some(Self::$variant), )*
                    _ => None,
                }
            }

            /// The word for it.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )*
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl $crate::codec::Codec for $name {
            type Value = Self;

            fn write(value: &Self, out: &mut $crate::codec::Writer) {
                out.uint(u64::from(value.code()));
            }

            fn read(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                let code = <u8 as $crate::codec::Codec>::read(input)?;
                Self::from_code(code).ok_or_else(|| {
                    let codes: Vec<u8> = Self::ALL.iter().map(|known| known.code()).collect();
                    $crate::DecodeError::value(format!("{code}: expected one of {codes:?}"))
                })
            }
        }
    };
}

/// Declares an open enumeration: a code that is not listed means `Other` and is kept.
macro_rules! open_codes {
    (
        $(#[$meta:meta])*
        $vis:vis enum $name:ident {
            $( $(#[$variant_meta:meta])* $variant:ident = $code:literal $text:literal ),* $(,)?
        }
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $name {
            $( $(#[$variant_meta])* $variant, )*
            /// Anything else: 0, or a code of a later version, which is kept. Never one
            /// of the codes above.
            Other(u8),
        }

        impl $name {
            /// Every named value, in the order of the codes.
            $vis const ALL: &'static [Self] = &[$( Self::$variant ),*];

            /// The number on the wire.
            #[must_use]
            $vis const fn code(self) -> u8 {
                match self {
                    $( Self::$variant => $code, )*
                    Self::Other(code) => code,
                }
            }

            /// The value with this number.
            #[must_use]
            $vis const fn from_code(code: u8) -> Self {
                match code {
                    $( $code => Self::$variant, )*
                    other => Self::Other(other),
                }
            }

            /// The word for it.
            #[must_use]
            $vis const fn name(self) -> &'static str {
                match self {
                    $( Self::$variant => $text, )*
                    Self::Other(_) => "other",
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.name())
            }
        }

        impl $crate::codec::Codec for $name {
            type Value = Self;

            fn write(value: &Self, out: &mut $crate::codec::Writer) {
                out.uint(u64::from(value.code()));
            }

            fn read(input: &mut $crate::codec::Reader<'_>) -> Result<Self, $crate::DecodeError> {
                <u8 as $crate::codec::Codec>::read(input).map(Self::from_code)
            }
        }
    };
}

pub(crate) use {codec_of, codes, open_codes, record};
