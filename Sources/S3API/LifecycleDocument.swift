internal import Objects
internal import XML

/// `LifecycleConfiguration` as rules (Amazon S3 User Guide, "Lifecycle configuration elements").
enum LifecycleDocument {
    private static let rulesMax = 1000

    /// All rules of a document, checked; `isEnabled` tells which act.
    static func rules(_ root: XMLElement) throws(S3Fault) -> [(rule: LifecycleRule, isEnabled: Bool)] {
        let items = root.children
        guard !items.isEmpty, items.count <= rulesMax else { throw .malformedXML }
        var rules: [(LifecycleRule, Bool)] = []
        var ids: Set<String> = []
        for (index, item) in items.enumerated() {
            guard item.name == "Rule" else { throw .malformedXML }
            let parsed = try rule(item, number: index)
            guard ids.insert(parsed.rule.id).inserted else { throw .invalidArgument("Rule ID must be unique. Found same ID for more than one rule") }
            rules.append(parsed)
        }
        return rules
    }

    /// Those that act.
    static func enabled(_ bytes: [UInt8]) -> [LifecycleRule] {
        guard let root = try? XMLReader.read(bytes), let rules = try? rules(root) else { return [] }
        return rules.filter(\.isEnabled).map(\.rule)
    }

    /// A date that has passed acts a little later (half a day, a minute at most): who sets a rule sees what it is about to remove.
    static func graced(_ rules: [LifecycleRule], now: Int64, day: Int64) -> [LifecycleRule] {
        rules.map { rule in
            guard case .date(let time)? = rule.expiration else { return rule }
            var rule = rule
            rule.expiration = .date(max(time, now + min(day / 2, 60_000)))
            return rule
        }
    }

    /// The document as it is kept: rules without an id get one, which `x-amz-expiration` names.
    static func named(_ root: XMLElement) -> XMLElement {
        var named = root
        named.children = root.children.enumerated().map { index, item in
            guard item.text("ID")?.isEmpty ?? true else { return item }
            var rule = item
            var id = XMLElement(name: "ID")
            id.text = name(of: index)
            rule.children = [id] + item.children.filter { $0.name != "ID" }
            return rule
        }
        return named
    }

    private static func name(of index: Int) -> String { "rule-\(index + 1)" }

    private static func rule(_ item: XMLElement, number: Int) throws(S3Fault) -> (rule: LifecycleRule, isEnabled: Bool) {
        let given = item.text("ID") ?? ""
        guard given.count <= 255 else { throw .invalidArgument("ID length should not exceed allowed limit of 255") }
        let status = item.text("Status")
        guard status == "Enabled" || status == "Disabled" else { throw .malformedXML }
        var rule = LifecycleRule(id: given.isEmpty ? name(of: number) : given)
        try filter(item, into: &rule)
        if let expiration = item.first("Expiration") { try expire(expiration, into: &rule) }
        if let noncurrent = item.first("NoncurrentVersionExpiration") {
            rule.noncurrentDays = try days(noncurrent.text("NoncurrentDays"))
            rule.noncurrentKept = try kept(noncurrent)
        }
        if let abort = item.first("AbortIncompleteMultipartUpload") { rule.abortUploadsDays = try days(abort.text("DaysAfterInitiation")) }
        for transition in item.all("Transition") {
            let to = try storageClass(transition)
            rule.transitions.append(LifecycleRule.Transition(try when(transition, least: 0), to: to))
        }
        for transition in item.all("NoncurrentVersionTransition") {
            let to = try storageClass(transition)
            rule.noncurrentTransitions.append(
                LifecycleRule.NoncurrentTransition(
                    days: try days(transition.text("NoncurrentDays"), least: 0), keep: try kept(transition), to: to))
        }
        let acts =
            rule.expiration != nil || rule.expiresDeleteMarkers || rule.noncurrentDays != nil || rule.abortUploadsDays != nil
            || !rule.transitions.isEmpty || !rule.noncurrentTransitions.isEmpty
        guard acts else { throw .malformedXML }
        return (rule, status == "Enabled")
    }

    private static func filter(_ item: XMLElement, into rule: inout LifecycleRule) throws(S3Fault) {
        if let filter = item.first("Filter") {
            guard item.first("Prefix") == nil else { throw .malformedXML }
            for part in filter.first("And")?.children ?? filter.children {
                switch part.name {
                case "Prefix": rule.prefix = Array(part.text.utf8)
                case "Tag":
                    guard let key = part.first("Key")?.text, let value = part.first("Value")?.text else { throw .malformedXML }
                    rule.tags.append(Field(key, value))
                case "ObjectSizeGreaterThan": rule.sizeAbove = try size(part)
                case "ObjectSizeLessThan": rule.sizeBelow = try size(part)
                default: throw .malformedXML
                }
            }
            if let above = rule.sizeAbove, let below = rule.sizeBelow, above >= below {
                throw .invalidRequest("'ObjectSizeGreaterThan' must be less than 'ObjectSizeLessThan'")
            }
        } else if let prefix = item.first("Prefix") {
            rule.prefix = Array(prefix.text.utf8)
        }
    }

    private static func expire(_ item: XMLElement, into rule: inout LifecycleRule) throws(S3Fault) {
        if let word = item.text("ExpiredObjectDeleteMarker") {
            guard item.first("Days") == nil, item.first("Date") == nil else { throw .malformedXML }
            rule.expiresDeleteMarkers = word == "true"
        } else {
            rule.expiration = try when(item, least: 1)
        }
    }

    private static func when(_ item: XMLElement, least: Int) throws(S3Fault) -> LifecycleRule.When {
        if let text = item.text("Date") {
            guard item.first("Days") == nil, let time = Dates.milliseconds(iso: text) else { throw .malformedXML }
            guard time % Lifecycle.dayMilliseconds == 0 else { throw .invalidArgument("'Date' must be at midnight GMT") }
            return .date(time)
        }
        return .days(try days(item.text("Days"), least: least))
    }

    private static func days(_ text: String?, least: Int = 1) throws(S3Fault) -> Int {
        guard let text, let days = Int(text), days <= Int(Int32.max) else { throw .malformedXML }
        guard days >= least else {
            throw .invalidArgument(least == 1 ? "'Days' must be a positive integer" : "'Days' must be nonnegative")
        }
        return days
    }

    private static func kept(_ item: XMLElement) throws(S3Fault) -> Int {
        guard let text = item.text("NewerNoncurrentVersions") else { return 0 }
        guard let count = Int(text), (1...100).contains(count) else {
            throw .invalidArgument("'NewerNoncurrentVersions' must be a positive integer up to 100")
        }
        return count
    }

    private static func size(_ item: XMLElement) throws(S3Fault) -> Int64 {
        guard let size = Int64(item.trimmed), size >= 0 else { throw .malformedXML }
        return size
    }

    private static func storageClass(_ item: XMLElement) throws(S3Fault) -> StorageClass {
        guard let name = item.text("StorageClass"), let known = StorageClasses.named(name) else { throw .malformedXML }
        return known
    }
}

/// The storage classes that a request may name. All but the archives are read like any other.
enum StorageClasses {
    private static let names: Set<String> = [
        "STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR",
    ]

    static func named(_ name: String) -> StorageClass? { names.contains(name) ? StorageClass(name) : nil }
}

/// `IntelligentTieringConfiguration`s of a bucket: several, each with an id, kept as one document.
enum TieringDocument {
    static let root: StaticString = "ListBucketIntelligentTieringConfigurationsOutput"

    /// Objects not read for 30 days become cold. (S3 names archive tiers here, after which a restore is needed; Hearth has one colder tier,
    /// and needs none.)
    static func rule(_ item: XMLElement) throws(S3Fault) -> (rule: TieringRule, isEnabled: Bool) {
        guard item.name == "IntelligentTieringConfiguration", let id = item.text("Id"), !id.isEmpty, let status = item.text("Status"),
            status == "Enabled" || status == "Disabled", !item.all("Tiering").isEmpty
        else { throw .malformedXML }
        var rule = TieringRule()
        for tiering in item.all("Tiering") {
            let tier = tiering.text("AccessTier")
            guard let days = tiering.text("Days").flatMap(Int.init), tier == "ARCHIVE_ACCESS" || tier == "DEEP_ARCHIVE_ACCESS" else {
                throw .malformedXML
            }
            guard days >= (tier == "ARCHIVE_ACCESS" ? 90 : 180), days <= 730 else {
                throw .invalidArgument("Days must be 90 to 730 for ARCHIVE_ACCESS, 180 to 730 for DEEP_ARCHIVE_ACCESS")
            }
        }
        if let filter = item.first("Filter") {
            for part in filter.first("And")?.children ?? filter.children {
                switch part.name {
                case "Prefix": rule.prefix = Array(part.text.utf8)
                case "Tag":
                    guard let key = part.first("Key")?.text, let value = part.first("Value")?.text else { throw .malformedXML }
                    rule.tags.append(Field(key, value))
                default: throw .malformedXML
                }
            }
        }
        return (rule, status == "Enabled")
    }

    static func enabled(_ bytes: [UInt8]) -> [TieringRule] {
        guard let root = try? XMLReader.read(bytes) else { return [] }
        return root.children.compactMap { try? rule($0) }.filter(\.isEnabled).map(\.rule)
    }
}
