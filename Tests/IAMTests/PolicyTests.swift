import Base
import Testing

@testable import IAM

/// Policies as AWS reads them.
@Suite struct PolicyTests {
    private func policy(_ statements: String, kind: Policy.Kind = .identity, version: String = "2012-10-17") throws -> Policy {
        try Policy("{\"Version\":\"\(version)\",\"Statement\":\(statements)}".utf8, kind: kind)
    }

    private func ask(
        _ policy: Policy, _ action: String, _ resource: String, _ caller: Caller? = nil, _ context: [String: String] = [:]
    ) -> Policy.Verdict {
        policy.verdict(Policy.Question(action: action, resource: resource, caller: caller, context: context))
    }

    @Test func wildcardsFitWhatTheyShould() {
        let fits: [(String, String, Bool)] = [
            ("*", "", true), ("*", "anything", true), ("a*c", "abbbc", true), ("a*c", "abbb", false), ("a?c", "abc", true), ("a?c", "ac", false),
            ("a?c", "aéc", true), ("a??c", "aéc", false), ("*a*b", "xaxxb", true), ("a**b", "ab", true), ("", "", true), ("", "a", false),
            ("arn:aws:s3:::b/*", "arn:aws:s3:::b/x/y", true), ("arn:aws:s3:::b/*", "arn:aws:s3:::bb/x", false), ("A", "a", false), ("$x", "$x", true),
        ]
        for (pattern, text, holds) in fits { #expect(Wildcard(pattern).matches(text) == holds, "\(pattern) \(text)") }
        #expect(Wildcard("S3:get*", ignoresCase: true).matches("s3:GetObject"))
        let own = Wildcard("arn:aws:s3:::home/${aws:username}/*", hasVariables: true)
        #expect(own.matches("arn:aws:s3:::home/ada/x", ["aws:username": "ada"]) && !own.matches("arn:aws:s3:::home/bob/x", ["aws:username": "ada"]))
        #expect(!own.matches("arn:aws:s3:::home//x"), "a variable that the request does not have fits nothing")
        #expect(!own.matches("arn:aws:s3:::home/ada/x", ["aws:username": "*"]), "a variable's value is no pattern")
        #expect(Wildcard("a${*}b${?}c${$}", hasVariables: true).matches("a*b?c$") && !Wildcard("a${*}b", hasVariables: true).matches("axb"))
        #expect(Wildcard("x${a:b, 'none'}", hasVariables: true).matches("xnone") && Wildcard("${aws:username}").matches("${aws:username}"))
    }

    /// Against a plain recursion, on small alphabets where all cases come.
    @Test func wildcardsAgreeWithTheirDefinition() {
        func defined(_ pattern: Substring, _ text: Substring) -> Bool {
            guard let first = pattern.first else { return text.isEmpty }
            if first == "*" { return defined(pattern.dropFirst(), text) || !text.isEmpty && defined(pattern, text.dropFirst()) }
            guard let letter = text.first, first == "?" || first == letter else { return false }
            return defined(pattern.dropFirst(), text.dropFirst())
        }
        let seed = UInt64.random(in: 1...UInt64.max)
        var random = Random(seed: seed)
        for _ in 0..<20_000 {
            func word(_ letters: [Character], _ most: Int) -> String {
                String((0..<Int.random(in: 0...most, using: &random)).map { _ in letters.randomElement(using: &random) ?? "a" })
            }
            let (pattern, text) = (word(["a", "b", "*", "?"], 7), word(["a", "b"], 8))
            let isRight = Wildcard(pattern).matches(text) == defined(pattern[...], text[...])
            if !isRight { Issue.record("seed \(seed): \(pattern) \(text)") }
        }
    }

    @Test func whatNothingAllowsIsNotAllowedAndADenialOutweighsAll() throws {
        let one = try policy(#"{"Effect":"Allow","Action":"s3:Get*","Resource":"arn:aws:s3:::b/pub/*"}"#)
        #expect(ask(one, "s3:GetObject", "arn:aws:s3:::b/pub/x") == .allowed && ask(one, "S3:getobject", "arn:aws:s3:::b/pub/x") == .allowed)
        #expect(ask(one, "s3:GetObject", "arn:aws:s3:::b/PUB/x") == .silent && ask(one, "s3:PutObject", "arn:aws:s3:::b/pub/x") == .silent)
        let both = try policy(
            #"[{"Effect":"Allow","Action":["*"],"Resource":"*"},{"Sid":"x","Effect":"Deny","Action":"s3:Delete*","Resource":["arn:aws:s3:::b/*"]}]"#)
        #expect(ask(both, "s3:DeleteObject", "arn:aws:s3:::b/x") == .denied && ask(both, "s3:DeleteObject", "arn:aws:s3:::c/x") == .allowed)
        let not = try policy(#"{"Effect":"Allow","NotAction":["iam:*","s3:Delete*"],"NotResource":"arn:aws:s3:::secret/*"}"#)
        #expect(ask(not, "s3:GetObject", "arn:aws:s3:::b/x") == .allowed && ask(not, "s3:DeleteObject", "arn:aws:s3:::b/x") == .silent)
        #expect(ask(not, "s3:GetObject", "arn:aws:s3:::secret/x") == .silent)
        let home = #"{"Effect":"Allow","Action":"s3:*","Resource":"arn:aws:s3:::home/${aws:username}/*"}"#
        #expect(ask(try policy(home), "s3:GetObject", "arn:aws:s3:::home/ada/x", nil, ["aws:username": "ada"]) == .allowed)
        #expect(ask(try policy(home, version: "2008-10-17"), "s3:GetObject", "arn:aws:s3:::home/ada/x", nil, ["aws:username": "ada"]) == .silent)
    }

    @Test func principalsAreAccountsUsersFunctionsServicesOrAll() throws {
        let account = "000000000001"
        let root = Caller.root(account: account)
        let ada = Caller.user("ada", account: account, policies: [])
        let thumbs = Caller.function("thumbs", account: account, role: "arn:aws:iam::\(account):role/hearth", policies: [])
        let stranger = Caller.root(account: "000000000002")
        let events = Caller.service("s3.amazonaws.com", account: account)
        func verdicts(_ principal: String, effect: String = "Allow") throws -> [Policy.Verdict] {
            let policy = try policy(#"{"Effect":"\#(effect)",\#(principal),"Action":"*","Resource":"*"}"#, kind: .resource)
            return [nil, root, ada, thumbs, stranger, events].map { ask(policy, "s3:GetObject", "arn:aws:s3:::b/x", $0) }
        }
        for all in [#""Principal":"*""#, #""Principal":{"AWS":"*"}"#] {
            #expect(try verdicts(all) == Array(repeating: .allowed, count: 6))
            #expect(try verdicts(all, effect: "Deny") == Array(repeating: .denied, count: 6))
        }
        for whole in [#""Principal":{"AWS":"\#(account)"}"#, #""Principal":{"AWS":["arn:aws:iam::\#(account):root"]}"#] {
            #expect(try verdicts(whole) == [.silent, .allowed, .delegated, .delegated, .silent, .silent])
            #expect(try verdicts(whole, effect: "Deny") == [.silent, .denied, .denied, .denied, .silent, .silent])
        }
        #expect(try verdicts(#""Principal":{"AWS":"arn:aws:iam::\#(account):user/ada"}"#) == [.silent, .silent, .allowed, .silent, .silent, .silent])
        #expect(try verdicts(#""Principal":{"AWS":"arn:aws:sts::\#(account):assumed-role/hearth/thumbs"}"#)[3] == .allowed)
        #expect(try verdicts(#""Principal":{"AWS":"arn:aws:iam::\#(account):role/hearth"}"#)[3] == .allowed)
        #expect(try verdicts(#""Principal":{"Service":"s3.amazonaws.com"}"#) == [.silent, .silent, .silent, .silent, .silent, .allowed])
        #expect(try verdicts(#""NotPrincipal":{"AWS":"arn:aws:iam::\#(account):user/ada"}"#, effect: "Deny") == [.denied, .denied, .silent, .denied, .denied, .denied])
        #expect(try policy(#"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*"}"#, kind: .resource).isPublic)
        let near = #"{"Effect":"Allow","Principal":"*","Action":"*","Resource":"*","Condition":{"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}"#
        #expect(try !policy(near, kind: .resource).isPublic && policy(near.replacingOccurrences("10.0.0.0/8", "0.0.0.0/0"), kind: .resource).isPublic)
    }

    @Test func conditionsHoldAsTheirOperatorsHaveThem() throws {
        let context = [
            "aws:sourceip": "10.1.2.3", "s3:prefix": "home/ada", "aws:securetransport": "false", "s3:max-keys": "10", "aws:currenttime": "2026-11-25T09:00:00Z",
            "aws:epochtime": "1795597200", "aws:sourcearn": "arn:aws:s3:::inbox", "aws:username": "ada", "aws:six": "2001:db8::7",
        ]
        let cases: [(String, Bool)] = [
            (#"{"StringEquals":{"s3:prefix":["x","home/ada"]}}"#, true), (#"{"StringEquals":{"s3:prefix":"home/*"}}"#, false),
            (#"{"StringEquals":{"S3:Prefix":"home/${aws:username}"}}"#, true), (#"{"StringNotEquals":{"s3:prefix":["x","home/ada"]}}"#, false),
            (#"{"StringNotEquals":{"s3:absent":"x"}}"#, true), (#"{"StringEquals":{"s3:absent":"x"}}"#, false), (#"{"StringEqualsIfExists":{"s3:absent":"x"}}"#, true),
            (#"{"StringEqualsIgnoreCase":{"s3:prefix":"HOME/ADA"}}"#, true), (#"{"StringNotEqualsIgnoreCase":{"s3:prefix":"HOME/ADA"}}"#, false),
            (#"{"StringLike":{"s3:prefix":"home/*"}}"#, true), (#"{"StringNotLike":{"s3:prefix":"home/*"}}"#, false),
            (#"{"Bool":{"aws:SecureTransport":false}}"#, true), (#"{"Bool":{"aws:SecureTransport":"true"}}"#, false), (#"{"Bool":{"aws:absent":"true"}}"#, false),
            (#"{"Null":{"s3:absent":"true"}}"#, true), (#"{"Null":{"s3:prefix":true}}"#, false), (#"{"Null":{"s3:prefix":"false"}}"#, true),
            (#"{"IpAddress":{"aws:SourceIp":["192.168.0.0/16","10.1.0.0/16"]}}"#, true), (#"{"IpAddress":{"aws:SourceIp":"10.1.2.4/32"}}"#, false),
            (#"{"IpAddress":{"aws:SourceIp":"10.1.2.2/31"}}"#, true), (#"{"NotIpAddress":{"aws:SourceIp":"10.1.2.3"}}"#, false), (#"{"IpAddress":{"aws:SourceIp":"::ffff:10.1.2.3"}}"#, true),
            (#"{"IpAddress":{"aws:six":"2001:db8::/33"}}"#, true), (#"{"IpAddress":{"aws:six":"2001:db9::/32"}}"#, false), (#"{"IpAddress":{"aws:six":"0.0.0.0/0"}}"#, false),
            (#"{"NumericLessThan":{"s3:max-keys":"11"}}"#, true), (#"{"NumericLessThan":{"s3:max-keys":10}}"#, false), (#"{"NumericLessThanEquals":{"s3:max-keys":10}}"#, true),
            (#"{"NumericGreaterThan":{"s3:max-keys":9.5}}"#, true), (#"{"NumericGreaterThanEquals":{"s3:max-keys":11}}"#, false),
            (#"{"NumericEquals":{"s3:max-keys":"10.0"}}"#, true), (#"{"NumericNotEquals":{"s3:max-keys":"10"}}"#, false), (#"{"NumericEquals":{"s3:prefix":"10"}}"#, false),
            (#"{"DateGreaterThan":{"aws:CurrentTime":"2026-11-25"}}"#, true), (#"{"DateLessThan":{"aws:CurrentTime":"2026-11-25T10:00:00+01:00"}}"#, false),
            (#"{"DateLessThanEquals":{"aws:CurrentTime":"2026-11-25T09:00:00.999Z"}}"#, true), (#"{"DateEquals":{"aws:EpochTime":"2026-11-25T09:00:00Z"}}"#, true),
            (#"{"DateGreaterThanEquals":{"aws:EpochTime":"1795597201"}}"#, false), (#"{"DateNotEquals":{"aws:CurrentTime":"2026-11-25T09:00:00Z"}}"#, false),
            (#"{"ArnLike":{"aws:SourceArn":"arn:aws:s3:*:*:in*"}}"#, true), (#"{"ArnEquals":{"aws:SourceArn":"arn:aws:s3:*:*:in"}}"#, false),
            (#"{"ArnNotLike":{"aws:SourceArn":"arn:aws:s3:::inbox"}}"#, false), (#"{"ArnLike":{"s3:prefix":"arn:*:*:*:*:*"}}"#, false),
            (#"{"ForAllValues:StringEquals":{"s3:absent":"x"}}"#, true), (#"{"ForAnyValue:StringNotEquals":{"s3:absent":"x"}}"#, false), (#"{"ForAnyValue:StringLike":{"s3:prefix":"home*"}}"#, true),
            (#"{"StringEquals":{"s3:prefix":"home/ada"},"Bool":{"aws:SecureTransport":"true"}}"#, false),
        ]
        for (condition, holds) in cases {
            let policy = try policy(#"{"Effect":"Allow","Action":"*","Resource":"*","Condition":\#(condition)}"#)
            #expect((ask(policy, "s3:ListBucket", "arn:aws:s3:::b", nil, context) == .allowed) == holds, "\(condition)")
        }
    }

    @Test func whatIsNotUnderstoodIsRefusedPlainly() throws {
        let fine = #""Effect":"Allow","Action":"s3:*","Resource":"*""#
        let cases: [(String, Policy.Kind, String)] = [
            ("not json", .identity, "valid JSON"), ("[]", .identity, "valid JSON"), ("{}", .identity, "Missing required field Statement"), (#"{"Statement":[]}"#, .identity, "Statement"),
            (#"{"Version":"2020-01-01","Statement":{\#(fine)}}"#, .identity, "version"), (#"{"Statment":1,"Statement":{\#(fine)}}"#, .identity, "Unknown field Statment"),
            (#"{"Statement":{\#(fine),"Conditions":{}}}"#, .identity, "Unknown field Conditions"), (#"{"Statement":"x"}"#, .identity, "object"),
            (#"{"Statement":{"Effect":"allow","Action":"*","Resource":"*"}}"#, .identity, "Invalid effect"), (#"{"Statement":{"Effect":"Allow","Resource":"*"}}"#, .identity, "Missing required field Action"),
            (#"{"Statement":{"Effect":"Allow","Action":[],"Resource":"*"}}"#, .identity, "Action"), (#"{"Statement":{"Effect":"Allow","Action":"GetObject","Resource":"*"}}"#, .identity, "vendor"),
            (#"{"Statement":{"Effect":"Allow","Action":"s3:*","NotAction":"s3:*","Resource":"*"}}"#, .identity, "both"), (#"{"Statement":{"Effect":"Allow","Action":"s3:*"}}"#, .identity, "Missing required field Resource"),
            (#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":"inbox"}}"#, .identity, "ARN format"), (#"{"Statement":{"Effect":"Allow","Action":"s3:*","Resource":{"a":"b"}}}"#, .identity, "Resource"),
            (#"{"Statement":{\#(fine),"Principal":"*"}}"#, .identity, "should not specify a principal"), (#"{"Statement":{\#(fine)}}"#, .resource, "Missing required field Principal"),
            (#"{"Statement":{\#(fine),"Principal":"ada"}}"#, .resource, "Invalid principal"), (#"{"Statement":{\#(fine),"Principal":{"User":"ada"}}}"#, .resource, "Invalid principal"),
            (#"{"Statement":{\#(fine),"Condition":{"Magic":{"a":"b"}}}}"#, .identity, "Invalid Condition type : Magic"), (#"{"Statement":{\#(fine),"Condition":{"NullIfExists":{"a":"true"}}}}"#, .identity, "NullIfExists"),
            (#"{"Statement":{\#(fine),"Condition":{"NumericLess":{"a":"1"}}}}"#, .identity, "NumericLess"), (#"{"Statement":{\#(fine),"Condition":{"Bool":{"a":"yes"}}}}"#, .identity, "yes"),
            (#"{"Statement":{\#(fine),"Condition":{"IpAddress":{"a":"10.0.0.0/33"}}}}"#, .identity, "10.0.0.0/33"), (#"{"Statement":{\#(fine),"Condition":{"IpAddress":{"a":"ten"}}}}"#, .identity, "ten"),
            (#"{"Statement":{\#(fine),"Condition":{"NumericEquals":{"a":"ten"}}}}"#, .identity, "ten"), (#"{"Statement":{\#(fine),"Condition":{"DateEquals":{"a":"tomorrow"}}}}"#, .identity, "tomorrow"),
            (#"{"Statement":{\#(fine),"Condition":{"ArnLike":{"a":"inbox"}}}}"#, .identity, "inbox"), (#"{"Statement":{\#(fine),"Condition":[]}}"#, .identity, "Invalid condition"),
        ]
        for (text, kind, words) in cases {
            do {
                _ = try Policy(text.utf8, kind: kind)
                Issue.record("read: \(text)")
            } catch { #expect(error.description.contains(words), "\(text): \(error)") }
        }
    }

    /// Damaged policies are refused or read, never a crash.
    @Test func damagedPoliciesNeverCrash() throws {
        let sample = Array(#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:Get*"],"Resource":"arn:aws:s3:::b/${aws:username}/*","Condition":{"StringLike":{"s3:prefix":["a*"]},"IpAddress":{"aws:SourceIp":"10.0.0.0/8"}}}]}"#.utf8)
        let seed = UInt64.random(in: 1...UInt64.max)
        var random = Random(seed: seed)
        var readable = 0
        for _ in 0..<3000 {
            var damaged = sample
            for _ in 0..<Int.random(in: 1...3, using: &random) {
                let at = Int.random(in: 0..<damaged.count, using: &random)
                damaged[at] = sample[Int.random(in: 0..<sample.count, using: &random)]
            }
            guard let policy = try? Policy(damaged, kind: .identity) else { continue }
            readable += 1
            _ = ask(policy, "s3:GetObject", "arn:aws:s3:::b/ada/x", nil, ["aws:username": "ada", "aws:sourceip": "10.1.1.1"])
        }
        #expect(readable < 3000, "seed \(seed)")
    }

    @Test func listedBucketsMayBeReadOrWrittenAndNothingElse() throws {
        #expect(Policy.text(ofBuckets: []) == nil)
        let policy = try Policy(try #require(Policy.text(ofBuckets: ["inbox", "counts:rw"])).utf8, kind: .identity)
        func verdict(_ action: String, _ resource: String) -> Policy.Verdict { ask(policy, action, "arn:aws:s3:::" + resource) }
        for action in ["s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectTagging", "s3:GetObjectAttributes"] {
            #expect(verdict(action, "inbox/a/b") == .allowed && verdict(action, "counts/a") == .allowed && verdict(action, "other/a") == .silent, "\(action)")
        }
        for action in ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:PutObjectTagging"] {
            #expect(verdict(action, "inbox/a") == .silent && verdict(action, "counts/a") == .allowed, "\(action)")
        }
        #expect(verdict("s3:ListBucket", "inbox") == .allowed && verdict("s3:ListBucket", "inbox2") == .silent && verdict("s3:ListBucketMultipartUploads", "counts") == .allowed)
        for action in ["s3:PutBucketPolicy", "s3:DeleteBucket", "s3:PutObjectAcl", "s3:GetObjectAcl", "s3:PutBucketVersioning", "lambda:InvokeFunction"] {
            #expect(verdict(action, "counts") == .silent && verdict(action, "counts/x") == .silent, "\(action)")
        }
    }
}

extension String {
    fileprivate func replacingOccurrences(_ of: String, _ with: String) -> String {
        split(separator: of, omittingEmptySubsequences: false).joined(separator: with)
    }
}
