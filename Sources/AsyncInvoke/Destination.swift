/// Where the outcome of an asynchronous invocation goes, as its ARN says.
package enum Destination: Equatable, Sendable {
    case function(name: String, qualifier: String?)
    case bucket(String)
    /// The function's own log.
    case log

    /// nil for what this node cannot deliver to (queues, topics, event buses).
    package init?(arn: String) {
        let parts = arn.split(separator: ":", maxSplits: 5, omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 6, parts[0] == "arn", parts[1].hasPrefix("aws") else { return nil }
        switch parts[2] {
        case "lambda":
            let name = parts[5].split(separator: ":", omittingEmptySubsequences: false).map(String.init)
            guard name.count == 2 || name.count == 3, name[0] == "function", !name[1].isEmpty else { return nil }
            self = .function(name: name[1], qualifier: name.count == 3 ? name[2] : nil)
        case "s3":
            guard !parts[5].isEmpty, !parts[5].contains("/") else { return nil }
            self = .bucket(parts[5])
        case "logs": self = .log
        default: return nil
        }
    }
}

/// The buckets of this node, as destinations.
package protocol DestinationBuckets: AnyObject {
    /// Writes an object of JSON. `done` hears on the loop whether it is on disk.
    func put(_ json: [UInt8], as key: String, in bucket: String, _ done: @escaping (Bool) -> Void)
}
