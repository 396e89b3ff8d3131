/// A layer as a request names it: its name, its ARN, or the ARN of one of its versions.
struct LayerName {
    let name: String
    var region: String?
    var accountID: String?
    var number: Int?

    init?(_ text: String) {
        func isName(_ part: Substring) -> Bool {
            (1...64).contains(part.utf8.count) && part.utf8.allSatisfy { $0 == 45 || $0 == 95 || isLetterOrDigit($0) }
        }
        guard text.hasPrefix("arn:") else {
            guard isName(text[...]) else { return nil }
            name = text
            return
        }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard (7...8).contains(parts.count), parts[1].hasPrefix("aws"), parts[2] == "lambda", !parts[3].isEmpty, parts[5] == "layer",
            parts[4].utf8.count == 12, parts[4].utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), isName(parts[6])
        else { return nil }
        name = String(parts[6])
        region = String(parts[3])
        accountID = String(parts[4])
        guard parts.count == 8 else { return }
        guard parts[7].utf8.allSatisfy({ $0 >= 48 && $0 <= 57 }), let number = Int(parts[7]) else { return nil }
        self.number = number
    }
}

private func isLetterOrDigit(_ byte: UInt8) -> Bool {
    (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z")) || (byte >= 48 && byte <= 57)
}
