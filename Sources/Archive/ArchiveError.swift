package enum ArchiveError: Error, Equatable, CustomStringConvertible {
    case notAZip
    case tooLarge
    case tooManyEntries
    /// An entry that must not be unpacked, and why.
    case refused(entry: String, why: String)
    case cannotRead(String)
    case cannotWrite(String)

    package var description: String {
        switch self {
        // The first two are Lambda's words.
        case .notAZip: "Could not unzip uploaded file. Please check your file, then try to upload again."
        case .tooLarge: "Unzipped size must be smaller than 262144000 bytes"
        case .tooManyEntries: "The package holds more entries than are allowed"
        case .refused(let entry, let why): "The package holds \(entry), which \(why)"
        case .cannotRead(let sentence), .cannotWrite(let sentence): sentence
        }
    }
}
