internal import Objects
internal import XML

/// The functions of the node, as targets of notifications.
package protocol NotificationTargets: Sendable {
    /// Why the function may not be told of what happens in the bucket, in S3's words; nil: it may.
    func refusal(of arn: String, toldBy bucket: String) -> String?
}

/// `NotificationConfiguration` as rules (Amazon S3 User Guide, "Supported event destinations", "Configuring event notifications using
/// object key name filtering"). Hearth tells functions; the other destinations are refused, since nobody would be told.
enum NotificationDocument {
    private static let rulesMax = 100
    private static let function = "CloudFunctionConfiguration"

    static func rules(_ root: XMLElement) throws(S3Fault) -> [NotificationRule] {
        guard root.children.count <= rulesMax else {
            throw .invalidArgument("The number of notification configurations exceeds the limit of \(rulesMax)")
        }
        var rules: [NotificationRule] = []
        for (index, item) in root.children.enumerated() {
            switch item.name {
            case function, "LambdaFunctionConfiguration": rules.append(try rule(item, index))
            case "TopicConfiguration", "QueueConfiguration":
                throw unable(item.text("Topic") ?? item.text("Queue") ?? "", "Hearth tells functions only")
            case "EventBridgeConfiguration": throw .notImplemented("EventBridge is not implemented: name a function")
            default: throw .malformedXML
            }
        }
        guard Set(rules.map(\.id)).count == rules.count else {
            throw .invalidArgument("Same ID used for multiple configurations. IDs must be unique")
        }
        for (index, rule) in rules.enumerated() where rules[(index + 1)...].contains(where: rule.overlaps) {
            throw .invalidArgument("Configurations overlap. Configurations on the same bucket cannot share a common event type.")
        }
        return rules
    }

    /// What a stored document tells.
    static func stored(_ bytes: [UInt8]) -> [NotificationRule] {
        (try? XMLReader.read(bytes)).flatMap { try? rules($0) } ?? []
    }

    /// The document of rules, as it is kept.
    static func root(_ rules: [NotificationRule]) -> XMLElement {
        func leaf(_ name: String, _ text: String) -> XMLElement {
            var element = XMLElement(name: name)
            element.text = text
            return element
        }
        func branch(_ name: String, _ children: [XMLElement]) -> XMLElement {
            var element = XMLElement(name: name)
            element.children = children
            return element
        }
        func names(_ rule: NotificationRule) -> [String] {
            var left = rule.kinds
            var names: [String] = []
            for all in ["ObjectCreated:*", "ObjectRemoved:*"] where left.isSuperset(of: ObjectEventKind.named(all)) {
                names.append(all)
                left.subtract(ObjectEventKind.named(all))
            }
            return names + left.map(\.rawValue).sorted()
        }
        return branch(
            "NotificationConfiguration",
            rules.map { rule in
                let filters = [("prefix", rule.prefix), ("suffix", rule.suffix)].filter { !$0.1.isEmpty }.map { name, value in
                    branch("FilterRule", [leaf("Name", name), leaf("Value", String(decoding: value, as: UTF8.self))])
                }
                return branch(
                    function,
                    [leaf("Id", rule.id), leaf("CloudFunction", rule.target)] + names(rule).map { leaf("Event", "s3:\($0)") }
                        + (filters.isEmpty ? [] : [branch("Filter", [branch("S3Key", filters)])]))
            })
    }

    static func unable(_ arn: String, _ reason: String) -> S3Fault {
        .invalidArgument("Unable to validate the following destination configurations", name: arn, value: reason)
    }

    private static func rule(_ item: XMLElement, _ index: Int) throws(S3Fault) -> NotificationRule {
        guard let target = item.text("CloudFunction") ?? item.text("LambdaFunctionArn"), !target.isEmpty else { throw .malformedXML }
        let id = item.text("Id") ?? ""
        guard id.count <= 255 else { throw .invalidArgument("ID length should not exceed allowed limit of 255") }
        var rule = NotificationRule(id: id.isEmpty ? "notification-\(index + 1)" : id, target: target, kinds: [])
        for event in item.all("Event").map(\.trimmed) {
            let kinds = event.hasPrefix("s3:") ? ObjectEventKind.named(String(event.dropFirst(3))) : []
            guard !kinds.isEmpty else {
                throw .invalidArgument("The event '\(event)' is not supported for notifications", name: "Event", value: event)
            }
            rule.kinds.formUnion(kinds)
        }
        guard !rule.kinds.isEmpty else { throw .malformedXML }
        var seen: Set<String> = []
        for filter in item.first("Filter")?.first("S3Key")?.all("FilterRule") ?? [] {
            guard let name = filter.text("Name")?.lowercased(), let value = filter.first("Value")?.text else { throw .malformedXML }
            guard name == "prefix" || name == "suffix" else { throw .invalidArgument("filter rule name must be either prefix or suffix") }
            guard seen.insert(name).inserted else { throw .invalidArgument("Cannot specify more than one \(name) rule in a filter.") }
            guard value.utf8.count <= 1024 else { throw .invalidArgument("Size of filter rule value cannot exceed 1024 bytes") }
            if name == "prefix" { rule.prefix = Array(value.utf8) } else { rule.suffix = Array(value.utf8) }
        }
        return rule
    }
}

extension S3Calls {
    func putNotifications(_ name: BucketName, _ root: XMLElement, _ request: S3Request) async throws(S3Fault) -> S3Answer {
        let rules = try NotificationDocument.rules(root)
        if request.header("x-amz-skip-destination-validation")?.lowercased() != "true" { try check(rules, name) }
        try await setNotifications(rules, of: name)
        return .empty
    }

    private func check(_ rules: [NotificationRule], _ name: BucketName) throws(S3Fault) {
        for rule in rules {
            if let reason = targets.refusal(of: rule.target, toldBy: name.text) { throw NotificationDocument.unable(rule.target, reason) }
        }
    }

    private func setNotifications(_ rules: [NotificationRule], of name: BucketName) async throws(S3Fault) {
        let document = rules.isEmpty ? nil : NotificationDocument.root(rules).document
        _ = try await setDocument(.notification, document, name)
        store.setNotifications(rules, of: name)
    }

    /// Makes `wanted` the rules, in all buckets, whose ids begin with `mark`; a bucket that is not there yet is made for `owner`.
    func replaceNotifications(
        _ mark: String, with wanted: [(bucket: BucketName, rule: NotificationRule)], owner: String
    ) async throws(S3Fault) {
        for (name, _) in wanted where store.bucket(name) == nil {
            let _: Bucket = try await wait { store.createBucket(name, owner: owner, done: $0) }
        }
        for bucket in store.buckets() {
            let old = stored(.notification, bucket.name).map(NotificationDocument.stored) ?? []
            let new = old.filter { !$0.id.hasPrefix(mark) } + wanted.filter { $0.bucket == bucket.name }.map(\.rule)
            guard new != old else { continue }
            // Held to the rules of a document that somebody puts, but for the functions: who deploys one wants it told.
            let rules = try NotificationDocument.rules(NotificationDocument.root(new))
            try await setNotifications(rules, of: bucket.name)
        }
    }
}
