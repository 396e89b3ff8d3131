import Catalog
import Testing

@Suite struct ResourcePolicyTests {
    private func policy(_ edit: (inout PolicyStatement) -> Void = { _ in }) -> ResourcePolicy {
        var statement = PolicyStatement(sid: "s", action: "lambda:InvokeFunction", principal: "s3.amazonaws.com")
        edit(&statement)
        return ResourcePolicy(statements: [statement], revisionID: "r")
    }

    @Test func statementsPermitWhatTheySayAndNothingElse() {
        let invoke = "lambda:InvokeFunction", s3 = AccessQuestion.Principal.service("s3.amazonaws.com")
        let question = AccessQuestion(s3, invoke, sourceARN: "arn:aws:s3:::inbox", sourceAccount: "000000000000")
        #expect(policy().permits(question) && !ResourcePolicy(statements: [], revisionID: "").permits(question))
        for other in [
            AccessQuestion(.service("events.amazonaws.com"), invoke), AccessQuestion(.anonymous, invoke), AccessQuestion(.account("000000000000"), invoke),
            AccessQuestion(s3, "lambda:InvokeFunctionUrl"), AccessQuestion(s3, "lambda:Invoke"),
        ] { #expect(!policy().permits(other), "\(other)") }
        // Actions and principals that mean several.
        for action in ["*", "lambda:*"] { #expect(policy { $0.action = action }.permits(AccessQuestion(s3, "lambda:GetFunction"))) }
        #expect(policy { $0.principal = "*" }.permits(AccessQuestion(.anonymous, invoke)))
        for principal in ["123456789012", "arn:aws:iam::123456789012:root", "arn:aws:iam::123456789012:user/ada"] {
            let policy = policy { $0.principal = principal }
            #expect(policy.permits(AccessQuestion(.account("123456789012"), invoke)))
            #expect(!policy.permits(AccessQuestion(.account("123456789013"), invoke)))
            #expect(!policy.permits(AccessQuestion(.anonymous, invoke)) && !policy.permits(question))
        }
        // Every condition must be met, and what the question does not tell meets none.
        let conditions: [(inout PolicyStatement) -> Void] = [
            { $0.sourceARN = "arn:aws:s3:::out*" }, { $0.sourceAccount = "123456789012" }, { $0.eventSourceToken = "t" },
            { $0.principalOrgID = "o-1234567890" }, { $0.urlAuthType = "NONE" }, { $0.isViaURL = true },
        ]
        for condition in conditions {
            #expect(!policy(condition).permits(question) && !policy(condition).permits(AccessQuestion(s3, invoke)))
        }
        #expect(policy { $0.sourceARN = "arn:aws:s3:::in*"; $0.sourceAccount = "000000000000" }.permits(question))
        #expect(!policy { $0.sourceARN = "arn:aws:s3:::in*"; $0.sourceAccount = "1" }.permits(question))
        let signed = AccessQuestion(.anonymous, invoke, urlAuthType: "AWS_IAM")
        #expect(!policy { $0.principal = "*"; $0.urlAuthType = "NONE" }.permits(signed))
        #expect(policy { $0.principal = "*"; $0.isViaURL = true }.permits(signed))
    }

    @Test func starsAndQuestionMarksStandForWhatTheyStandForInARNs() {
        let cases: [(String, String, Bool)] = [
            ("arn:a:b", "arn:a:b", true), ("arn:a:b", "arn:*", true), ("arn:a:b", "arn:*:b", true), ("arn:a:b", "arn:?:b", true), ("arn:aa:b", "arn:?:b", false),
            ("abcabd", "*abd", true), ("abcab", "*abd", false), ("", "*", true), ("", "?", false), ("a", "a**", true),
            ("ab", "a", false), ("", "", true), ("aXbXc", "a*b*c", true),
        ]
        for (text, pattern, expected) in cases {
            let policy = policy { $0.sourceARN = pattern }
            let question = AccessQuestion(.service("s3.amazonaws.com"), "lambda:InvokeFunction", sourceARN: text)
            #expect(policy.permits(question) == expected, "\(text) \(pattern)")
        }
    }
}
