/// JSON without Foundation, whose JSON coders cost a function some milliseconds at its start and 10 MB.
///
/// Dates, URLs and data of Foundation are coded as these types do it by themselves (a date as seconds since 2001).
public enum JSON {
    /// The value of a JSON text (RFC 8259, strictly; at most 512 levels deep).
    ///
    /// - Throws: `DecodingError`; `dataCorrupted` with an empty path when the text itself is wrong.
    public static func decode<Value: Decodable>(_ type: Value.Type = Value.self, from bytes: [UInt8]) throws -> Value {
        let root = JSONReader(document: try JSONDocument(bytes), index: 0, codingPath: [])
        return try root.singleValueContainer().decode(type)
    }

    /// The JSON text of a value, without white space; members in the order in which the value encodes them.
    ///
    /// - Throws: `EncodingError` for numbers that are not finite, and what the value's own code throws.
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        let root = JSONWriter(scratch: JSONScratch(), place: JSONPlace(), codingPath: [])
        var single = root.singleValueContainer()
        try single.encode(value)
        var out: [UInt8] = []
        out.reserveCapacity(root.scratch.text.count * 5 / 4 + 16)
        root.place.write(root.scratch, to: &out)
        return out
    }

    /// A coding error as a person wants to read it: `user.roles[2]: expected String, found a number`.
    static func describe(_ error: any Error) -> String {
        let context: (path: [any CodingKey], sentence: String)
        switch error {
        case DecodingError.typeMismatch(_, let c), DecodingError.valueNotFound(_, let c), DecodingError.keyNotFound(_, let c),
            DecodingError.dataCorrupted(let c):
            context = (c.codingPath, c.debugDescription)
        case EncodingError.invalidValue(_, let c): context = (c.codingPath, c.debugDescription)
        default: return "\(error)"
        }
        var path = ""
        for key in context.path {
            if let index = key.intValue { path += "[\(index)]" } else { path += path.isEmpty ? key.stringValue : ".\(key.stringValue)" }
        }
        return path.isEmpty ? context.sentence : "\(path): \(context.sentence)"
    }
}
