//! The field types of both implementations, side by side: one value, seen as either.

/// Random bytes that values are made from; zeros once they have run out.
pub(crate) struct Pool<'a>(pub(crate) &'a [u8]);

impl Pool<'_> {
    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let len = N.min(self.0.len());
        array[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        array
    }

    fn len_up_to(&mut self, max: usize) -> usize {
        usize::from(u16::from_le_bytes(self.array())) % (max + 1)
    }

    fn bytes_up_to(&mut self, max: usize) -> Vec<u8> {
        let len = self.len_up_to(max).min(self.0.len());
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        taken.to_vec()
    }

    fn items_up_to<T>(&mut self, max: usize, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let len = self.len_up_to(max);
        (0..len).map(|_| item(self)).collect()
    }
}

/// A field type that both implementations have.
pub(crate) trait Kind {
    /// The value itself, belonging to neither.
    type Value;
    type Ours<'a>;
    type Theirs<'a>;

    fn draw(pool: &mut Pool<'_>) -> Self::Value;
    fn ours(value: &Self::Value) -> Self::Ours<'_>;
    fn theirs(value: &Self::Value) -> Self::Theirs<'_>;
}

macro_rules! same_on_both_sides {
    ($($number:ty = |$pool:ident| $draw:expr;)*) => {$(
        impl Kind for $number {
            type Value = Self;
            type Ours<'a> = Self;
            type Theirs<'a> = Self;

            fn draw($pool: &mut Pool<'_>) -> Self {
                $draw
            }

            fn ours(value: &Self) -> Self {
                *value
            }

            fn theirs(value: &Self) -> Self {
                *value
            }
        }
    )*};
}
same_on_both_sides! {
    bool = |pool| pool.array::<1>()[0] & 1 == 1;
    u16 = |pool| Self::from_le_bytes(pool.array());
    u32 = |pool| Self::from_le_bytes(pool.array());
    u64 = |pool| Self::from_le_bytes(pool.array());
    // Finite, so that a value equals itself.
    f32 = |pool| Some(Self::from_le_bytes(pool.array())).filter(|x| x.is_finite()).unwrap_or(1e13);
}

macro_rules! byte_strings {
    ($($kind:ident: $ours:ident, $theirs:ident, up to $max:expr;)*) => {$(
        pub(crate) struct $kind;

        impl Kind for $kind {
            type Value = Vec<u8>;
            type Ours<'a> = sv2_wire::$ours<'a>;
            type Theirs<'a> = binary_sv2::$theirs<'a>;

            fn draw(pool: &mut Pool<'_>) -> Vec<u8> {
                pool.bytes_up_to($max)
            }

            fn ours(value: &Vec<u8>) -> Self::Ours<'_> {
                sv2_wire::$ours::new(value).unwrap()
            }

            fn theirs(value: &Vec<u8>) -> Self::Theirs<'_> {
                binary_sv2::$theirs::new(value).unwrap()
            }
        }
    )*};
}
byte_strings! {
    Text: Str0255, Str0255, up to 255;
    UpTo32: B032, B032, up to 32;
    UpTo255: B0255, B0255, up to 255;
    UpTo64K: B064K, B064K, up to 700;
}

pub(crate) struct Hash;

impl Kind for Hash {
    type Value = [u8; 32];
    type Ours<'a> = sv2_wire::U256;
    type Theirs<'a> = binary_sv2::U256<'a>;

    fn draw(pool: &mut Pool<'_>) -> [u8; 32] {
        pool.array()
    }

    fn ours(value: &[u8; 32]) -> sv2_wire::U256 {
        sv2_wire::U256(*value)
    }

    fn theirs(value: &[u8; 32]) -> binary_sv2::U256<'_> {
        binary_sv2::U256::from(value)
    }
}

pub(crate) struct OptionalTime;

impl Kind for OptionalTime {
    type Value = Option<u32>;
    type Ours<'a> = Option<u32>;
    type Theirs<'a> = binary_sv2::Sv2Option<'a, u32>;

    fn draw(pool: &mut Pool<'_>) -> Option<u32> {
        bool::draw(pool).then(|| u32::draw(pool))
    }

    fn ours(value: &Option<u32>) -> Option<u32> {
        *value
    }

    fn theirs(value: &Option<u32>) -> binary_sv2::Sv2Option<'_, u32> {
        binary_sv2::Sv2Option::new(*value)
    }
}

/// `SetupConnection.protocol`, a number to us and an enum to them.
pub(crate) struct Protocol;

impl Kind for Protocol {
    type Value = u8;
    type Ours<'a> = u8;
    type Theirs<'a> = common_messages_sv2::Protocol;

    fn draw(pool: &mut Pool<'_>) -> u8 {
        pool.array::<1>()[0] % 3
    }

    fn ours(value: &u8) -> u8 {
        *value
    }

    fn theirs(value: &u8) -> common_messages_sv2::Protocol {
        match *value {
            sv2_wire::common::MINING_PROTOCOL => common_messages_sv2::Protocol::MiningProtocol,
            sv2_wire::common::JOB_DECLARATION_PROTOCOL => {
                common_messages_sv2::Protocol::JobDeclarationProtocol
            }
            _ => common_messages_sv2::Protocol::TemplateDistributionProtocol,
        }
    }
}

pub(crate) struct MerklePath;

impl Kind for MerklePath {
    type Value = Vec<sv2_wire::U256>;
    type Ours<'a> = sv2_wire::Seq0255<'a, sv2_wire::U256>;
    type Theirs<'a> = binary_sv2::Seq0255<'a, binary_sv2::U256<'a>>;

    fn draw(pool: &mut Pool<'_>) -> Self::Value {
        pool.items_up_to(14, |pool| sv2_wire::U256(pool.array()))
    }

    fn ours(value: &Self::Value) -> Self::Ours<'_> {
        sv2_wire::Seq0255::new(value).unwrap()
    }

    fn theirs(value: &Self::Value) -> Self::Theirs<'_> {
        let hashes = value.iter().map(|hash| binary_sv2::U256::from(&hash.0)).collect();
        binary_sv2::Seq0255::new(hashes).unwrap()
    }
}

macro_rules! lists_of_integers {
    ($($kind:ident of $integer:ty;)*) => {$(
        pub(crate) struct $kind;

        impl Kind for $kind {
            type Value = Vec<$integer>;
            type Ours<'a> = sv2_wire::Seq064K<'a, $integer>;
            type Theirs<'a> = binary_sv2::Seq064K<'a, $integer>;

            fn draw(pool: &mut Pool<'_>) -> Self::Value {
                pool.items_up_to(300, <$integer as Kind>::draw)
            }

            fn ours(value: &Self::Value) -> Self::Ours<'_> {
                sv2_wire::Seq064K::new(value).unwrap()
            }

            fn theirs(value: &Self::Value) -> Self::Theirs<'_> {
                binary_sv2::Seq064K::new(value.clone()).unwrap()
            }
        }
    )*};
}
lists_of_integers! {
    Extensions of u16;
    ChannelIds of u32;
}
