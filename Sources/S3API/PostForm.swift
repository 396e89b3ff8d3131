internal import Foundation
internal import IAM
internal import Objects
internal import SigV4
internal import XML

/// The fields of an upload by form, its policy, and what they allow.
struct PostForm {
    /// What takes the file, and what answers when it is stored.
    struct Upload: Sendable {
        let writer: ObjectWriter
        /// `content-length-range`
        let sizes: ClosedRange<Int64>?
        let key: ObjectKey
        let bucket: BucketName
        let status: String?
        let redirect: String?

        func answer(_ result: PutResult, _ request: S3Request) -> S3Answer {
            var fields = S3Calls.fields(result, encryption: nil, parts: 0)
            let location = "http://\(request.host)/\(bucket)/\(S3Request.percentEncode(key.bytes))"
            if let redirect, let url = URL(string: redirect), url.scheme?.hasPrefix("http") == true {
                let mark = redirect.contains("?") ? "&" : "?"
                let query =
                    "bucket=\(bucket)&key=\(S3Request.percentEncode(key.bytes, keepSlash: false))&etag=\(S3Request.percentEncode(Array("\"\(result.etag)\"".utf8)))"
                fields.append(HeaderField("Location", redirect + mark + query))
                return S3Answer(303, fields)
            }
            fields.append(HeaderField("Location", location))
            switch status {
            case "200": return S3Answer(200, fields)
            case "201":
                let document = XMLWriter.document("PostResponse") { xml in
                    xml.element("Location", location)
                    xml.element("Bucket", bucket.text)
                    xml.element("Key", key.bytes)
                    xml.element("ETag", "\"\(result.etag)\"")
                }
                // Without a namespace, as S3 answers a form.
                return S3Answer(201, fields, body: .document(Self.withoutNamespace(document)))
            default: return S3Answer(204, fields)
            }
        }

        private static func withoutNamespace(_ document: [UInt8]) -> [UInt8] {
            Array(String(decoding: document, as: UTF8.self).replacingOccurrences(of: " xmlns=\"\(XMLWriter.namespace)\"", with: "").utf8)
        }
    }

    /// By lower-case name.
    var fields: [String: String] = [:]
    var filename = ""

    /// Name and file name of a part's `Content-Disposition`.
    static func disposition(_ head: String) -> (name: String?, filename: String?) {
        for line in head.components(separatedBy: "\r\n") where line.lowercased().hasPrefix("content-disposition:") {
            func value(_ name: String) -> String? {
                guard let mark = line.range(of: "\(name)=\"") else { return nil }
                return String(line[mark.upperBound...].prefix { $0 != "\"" })
            }
            // `filename=` contains `name=`: the first is sought behind "; ".
            guard let mark = line.range(of: "; name=\"") else { return (nil, nil) }
            return (String(line[mark.upperBound...].prefix { $0 != "\"" }), value("filename"))
        }
        return (nil, nil)
    }

    /// Judges everything but the file.
    mutating func open(_ calls: S3Calls, _ request: S3Request, _ verifier: Verifier) throws(S3Fault) -> Upload {
        guard let keyText = fields["key"], !keyText.isEmpty else {
            throw .invalidArgument("Bucket POST must contain a field named 'key'. If it is specified, please check the order of the fields.", name: "key", value: "")
        }
        var asked = request
        asked.setCaller(nil, calls.accounts)
        var sizes: ClosedRange<Int64>?
        let key: ObjectKey
        do { key = try ObjectKey(keyText.replacingOccurrences(of: "${filename}", with: filename)) } catch { throw S3Fault(error) }
        fields["key"] = key.description
        if let policy = fields["policy"] {
            asked.setCaller(try signer(policy, verifier, now: UInt64(request.now / 1000)), calls.accounts)
            sizes = try PostPolicy(policy).check(fields, bucket: request.bucketText ?? "", now: request.now)
        }
        let access = try calls.access(request)
        // What the form says as fields others say as headers.
        var headers = request.headers.merging(fields.filter { $0.key.hasPrefix("x-amz-") }) { $1 }
        for (name, field) in [("x-amz-acl", "acl"), ("x-amz-tagging", "tagging")] { headers[name] = fields[field] ?? headers[name] }
        try access.check(S3Request(asked, headers: headers), .postObject, key: key.description)
        let put = try putRequest(calls, access, asked, key)
        return Upload(
            writer: calls.store.put(put), sizes: sizes, key: key, bucket: access.bucket.name, status: fields["success_action_status"],
            redirect: fields["success_action_redirect"] ?? fields["redirect"])
    }

    /// Who signed the policy.
    private func signer(_ policy: String, _ verifier: Verifier, now: UInt64) throws(S3Fault) -> Caller {
        let token = fields["x-amz-security-token"]
        do throws(S3Refusal) {
            if let signature = fields["x-amz-signature"] {
                guard fields["x-amz-algorithm"] == "AWS4-HMAC-SHA256", let credential = fields["x-amz-credential"], let time = fields["x-amz-date"]
                else { throw S3Refusal(400, "InvalidArgument", "Bucket POST must contain x-amz-algorithm, x-amz-credential and x-amz-date") }
                return try verifier.verifyPolicy(
                    policy, credential: credential, time: time, signature: signature, token: token, epochSeconds: now)
            }
            guard let accessKeyID = fields["awsaccesskeyid"], let signature = fields["signature"] else {
                throw S3Refusal(400, "InvalidArgument", "Bucket POST must contain a field named 'AWSAccessKeyId' and one named 'signature', or those of Signature Version 4.")
            }
            return try verifier.verifyOldPolicy(policy, accessKeyID: accessKeyID, signature: signature, token: token, epochSeconds: now)
        } catch { throw S3Fault(error) }
    }

    /// The fields that are headers of a PUT mean the same here.
    private func putRequest(
        _ calls: S3Calls, _ access: BucketAccess, _ request: S3Request, _ key: ObjectKey
    ) throws(S3Fault) -> PutRequest {
        var headers = fields
        headers["x-amz-acl"] = fields["acl"]
        headers["x-amz-tagging"] = nil
        let asked = S3Request(request, headers: headers)
        let encryption = try Encryption.ofWrite(asked, bucketDefault: calls.stored(.encryption, access.bucket.name))
        var checks = BodyChecks()
        checks.md5 = try asked.contentMD5()
        if let sent = try ChecksumFields.sent(asked) { (checks.checksum, checks.checksumValue) = (sent.algorithm, sent.value) }
        var tags: [Field] = []
        if let document = fields["tagging"] {
            guard let root = try? XMLReader.read(Array(document.utf8)) else { throw .malformedXML }
            tags = try Tags.parse(root, max: Tags.objectMax)
        }
        var put = PutRequest(
            bucket: access.bucket.name, key: key, metadata: try calls.metadata(access, asked, encryption: encryption), tags: tags,
            storageClass: try calls.storageClass(asked), lock: try calls.lock(access, asked), body: checks)
        (put.kind, put.requester) = (.post, request.requester)
        return put
    }
}

/// The policy of a form: until when it holds, and what its fields must be (Amazon S3 API Reference, "POST Policy").
struct PostPolicy {
    private let expiration: Int64
    private let conditions: [PolicyJSON]

    init(_ base64: String) throws(S3Fault) {
        let invalid = S3Fault(400, "InvalidPolicyDocument", "Invalid Policy: Invalid JSON.")
        guard let json = S3Request.decodeBase64(base64.filter { !$0.isWhitespace }),
            case .object(let root)? = try? JSONDecoder().decode(PolicyJSON.self, from: Data(json))
        else { throw invalid }
        guard let text = root["expiration"]?.text else { throw S3Fault(400, "InvalidPolicyDocument", "Invalid Policy: Policy missing expiration.") }
        guard text.contains("T"), text.hasSuffix("Z"), let expiration = Dates.milliseconds(iso: text) else {
            throw S3Fault(400, "InvalidPolicyDocument", "Invalid Policy: Invalid 'expiration' value: '\(text)'")
        }
        guard case .array(let conditions)? = root["conditions"] else {
            throw S3Fault(400, "InvalidPolicyDocument", "Invalid Policy: Policy missing conditions.")
        }
        self.expiration = expiration
        self.conditions = conditions
    }

    private static let free: Set<String> = [
        "awsaccesskeyid", "signature", "file", "policy", "x-amz-signature", "x-amz-algorithm", "x-amz-credential", "x-amz-date", "bucket",
    ]

    /// Throws AccessDenied where the form is not what was signed; returns the sizes that the file may have.
    func check(_ fields: [String: String], bucket: String, now: Int64) throws(S3Fault) -> ClosedRange<Int64>? {
        guard now < expiration else { throw Self.denied("Policy expired.") }
        var covered: Set<String> = []
        var sizes: ClosedRange<Int64>?
        func value(_ name: String) -> String? { name == "bucket" ? bucket : fields[name] }
        for condition in conditions {
            switch condition {
            case .object(let pairs):
                guard !pairs.isEmpty else { throw Self.invalid }
                for (name, wanted) in pairs {
                    let name = name.lowercased()
                    guard let wanted = wanted.text else { throw Self.invalid }
                    guard value(name) == wanted else { throw Self.denied("Policy Condition failed: [\"eq\", \"$\(name)\", \"\(wanted)\"]") }
                    covered.insert(name)
                }
            case .array(let items):
                guard let kind = items.first?.text?.lowercased(), items.count == 3, let first = items[1].text, let second = items[2].text
                else { throw Self.invalid }
                if kind == "content-length-range" {
                    guard let least = Int64(first), let most = Int64(second), least >= 0, least <= most else { throw Self.invalid }
                    sizes = least...most
                    continue
                }
                guard first.hasPrefix("$") else { throw Self.invalid }
                let name = first.dropFirst().lowercased()
                let actual = value(name)
                let holds: Bool
                switch kind {
                case "eq": holds = actual == second
                case "starts-with": holds = actual?.hasPrefix(second) ?? second.isEmpty
                default: throw Self.invalid
                }
                guard holds else { throw Self.denied("Policy Condition failed: [\"\(kind)\", \"$\(name)\", \"\(second)\"]") }
                covered.insert(name)
            default: throw Self.invalid
            }
        }
        for name in fields.keys.sorted() where !covered.contains(name) && !Self.free.contains(name) && !name.hasPrefix("x-ignore-") {
            // Checksums protect the file itself; what they say cannot be known when the policy is signed.
            if name.hasPrefix("x-amz-checksum-") { continue }
            throw Self.denied("Extra input fields: \(name)")
        }
        return sizes
    }

    private static let invalid = S3Fault(400, "InvalidPolicyDocument", "Invalid Policy: Invalid condition.")
    private static func denied(_ why: String) -> S3Fault { S3Fault(403, "AccessDenied", "Invalid according to Policy: \(why)") }
}
