/// The prime factors of `n`, the smallest first; none for 0 and 1.
func primeFactors(of n: UInt64) -> [UInt64] {
    guard n > 1 else { return [] }
    var factors: [UInt64] = []
    var rest = n
    for prime in smallPrimes {
        while rest % prime == 0 {
            factors.append(prime)
            rest /= prime
        }
    }
    split(rest, into: &factors)
    return factors.sorted()
}

private let smallPrimes: [UInt64] = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37]

private func split(_ n: UInt64, into factors: inout [UInt64]) {
    guard n > 1 else { return }
    guard !isPrime(n) else { return factors.append(n) }
    let divisor = findDivisor(of: n)
    split(divisor, into: &factors)
    split(n / divisor, into: &factors)
}

private func multiply(_ a: UInt64, _ b: UInt64, modulo n: UInt64) -> UInt64 {
    n.dividingFullWidth(a.multipliedFullWidth(by: b)).remainder
}

private func power(_ base: UInt64, _ exponent: UInt64, modulo n: UInt64) -> UInt64 {
    var (result, base, exponent) = (UInt64(1), base % n, exponent)
    while exponent > 0 {
        if exponent & 1 == 1 { result = multiply(result, base, modulo: n) }
        base = multiply(base, base, modulo: n)
        exponent >>= 1
    }
    return result
}

/// Miller and Rabin's test; with the primes up to 37 as bases it errs for no number below 2^64 (Sorenson and Webster 2015).
private func isPrime(_ n: UInt64) -> Bool {
    let twos = (n - 1).trailingZeroBitCount
    let odd = (n - 1) >> UInt64(twos)
    return smallPrimes.allSatisfy { base in
        guard base % n != 0 else { return true }
        var x = power(base, odd, modulo: n)
        if x == 1 || x == n - 1 { return true }
        for _ in 1..<max(twos, 1) {
            x = multiply(x, x, modulo: n)
            if x == n - 1 { return true }
        }
        return false
    }
}

/// A proper divisor of a composite odd number: Pollard's rho method.
private func findDivisor(of n: UInt64) -> UInt64 {
    for constant in 1..<n {
        func step(_ x: UInt64) -> UInt64 {
            let square = multiply(x, x, modulo: n)
            // Without overflow: n may be close to 2^64.
            return square >= n - constant ? square - (n - constant) : square + constant
        }
        var (slow, fast, divisor) = (UInt64(2), UInt64(2), UInt64(1))
        while divisor == 1 {
            slow = step(slow)
            fast = step(step(fast))
            divisor = greatestCommonDivisor(slow > fast ? slow - fast : fast - slow, n)
        }
        if divisor != n { return divisor }
    }
    return n
}

private func greatestCommonDivisor(_ a: UInt64, _ b: UInt64) -> UInt64 {
    var (a, b) = (a, b)
    while b > 0 { (a, b) = (b, a % b) }
    return a
}
