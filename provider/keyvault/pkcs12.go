package keyvault

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"strconv"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/drone-entra/drone-entra/secret"
)

// What is wrong with a PKCS#12.
const (
	flawBroken = "its content type says PKCS#12, and it isn't one in base64"
	flawLocked = "its PKCS#12 does not open without a password, or holds a key or certificate of a kind that is not known here " +
		"(RSA, ECDSA on NIST's curves and Ed25519 are): ask for the key pfx to have it as it is stored"
	flawOdd = "its PKCS#12 is put together or encrypted in a way that is not supported: ask for the key pfx to have it as it is stored"
)

// Bounds of a PKCS#12, since whoever may write to a vault chooses it. Windows and OpenSSL write 2,000 rounds.
const (
	maxRounds = 100_000
	maxBag    = 8 << 10 // of a private key, in bytes
)

// unpack makes PEM of a PKCS#12 in base64, with blocks for what is in it and one for the file itself. With a flaw there
// is but the latter, or nothing where it isn't DER. What it needed on the way is cleared, but for what the library has
// copied.
//
// So a pipeline can ask for the file as it is stored also when what is in it can't be read here.
func unpack(text []byte) (made []byte, flaw string) {
	file, ok := decode(text)
	defer func() { clear(file) }()
	var whole asn1.RawValue
	if rest, err := asn1.Unmarshal(file, &whole); !ok || err != nil || len(rest) > 0 {
		return nil, flawBroken
	}
	key, certs, flaw := open(file)
	defer func() { clear(key) }()
	var blocks []pem.Block
	if flaw == "" && key != nil {
		blocks = append(blocks, pem.Block{Type: "PRIVATE KEY", Bytes: key})
	}
	if flaw == "" {
		for _, c := range certs {
			blocks = append(blocks, pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		}
	}
	return secret.EncodePEM(append(blocks, pem.Block{Type: secret.BlockPKCS12, Bytes: file})...), flaw
}

// open returns what is in a file that has no password. The key, PKCS#8, is nil where there is none.
func open(file []byte) (key []byte, certs []*x509.Certificate, flaw string) {
	defer func() {
		if recover() != nil { // the parser is another's, and the file anybody's; what it carries is not printed
			key, certs, flaw = nil, nil, flawOdd
		}
	}()
	// A certificate whose key may not be exported needs no PKCS#12 around it.
	if certs, err := x509.ParseCertificates(file); err == nil && len(certs) > 0 {
		return nil, certs, ""
	}
	var p pfx
	defer p.clear()
	if flaw := p.read(file); flaw != "" {
		return nil, nil, flaw
	}
	// Which of the two ways a file needs does not show before it opens.
	for _, empty := range []bool{false, true} {
		private, leaf, others, err := pkcs12.DecodeChain(p.again(empty), "")
		if err != nil {
			continue
		}
		certs = append([]*x509.Certificate{leaf}, others...)
		if !p.keyed {
			return nil, certs, ""
		}
		if key, err = x509.MarshalPKCS8PrivateKey(private); err == nil {
			return key, certs, ""
		}
	}
	return nil, nil, flawLocked
}

// pfx is a PKCS#12 taken apart as far as can be without opening what is encrypted in it. A file says with how many rounds
// its keys are derived, years of them if it likes; and what is encrypted may hold a private key with rounds of its own,
// unseen until too late. So the rounds that can be seen are checked, and again puts a private key in front of what is
// encrypted: the library takes a second one for an error before it derives anything for it.
type pfx struct {
	copies [][]byte // of parts of the file, which clear overwrites
	keyed  bool
	bags   []asn1.RawValue // in the clear; the key in them has an encryption of its own
	sealed []asn1.RawValue // encrypted, with certificates in them
}

// clear overwrites what was copied of the file. Its key may be encrypted there, but with no password.
func (p *pfx) clear() {
	for _, c := range p.copies {
		clear(c)
	}
}

// encode writes DER, which clear overwrites.
func (p *pfx) encode(of any) []byte {
	der := encode(of)
	p.copies = append(p.copies, der)
	return der
}

// The structures of RFC 7292, as far as they are looked at.
type (
	pdu struct {
		Version int
		Safe    contentInfo
		Mac     asn1.RawValue `asn1:"optional"`
	}
	contentInfo struct {
		Type    asn1.ObjectIdentifier
		Content asn1.RawValue `asn1:"tag:0,explicit,optional"`
	}
	encryptedData struct {
		Version int
		Info    struct {
			Type      asn1.ObjectIdentifier
			Algorithm pkix.AlgorithmIdentifier
			Content   []byte `asn1:"tag:0,optional"`
		}
	}
	safeBag struct {
		Type  asn1.ObjectIdentifier
		Value asn1.RawValue `asn1:"tag:0,explicit"`
	}
	shroudedKey struct {
		Algorithm pkix.AlgorithmIdentifier
		Data      []byte
	}
	digestInfo struct {
		Algorithm pkix.AlgorithmIdentifier
		Digest    []byte
	}
	macData struct {
		Mac  digestInfo
		Salt []byte
	}
)

const (
	// PKCS#7's kinds of content, PKCS#12's bags (RFC 7292), PKCS#5's encryption and derivation (RFC 8018), and a hash.
	oidData      = "1.2.840.113549.1.7.1"
	oidEncrypted = "1.2.840.113549.1.7.6"
	oidKeyBag    = "1.2.840.113549.1.12.10.1.1"
	oidShrouded  = "1.2.840.113549.1.12.10.1.2"
	oidPBES2     = "1.2.840.113549.1.5.13"
	oidPBKDF2    = "1.2.840.113549.1.5.12"
	oidSHA256    = "2.16.840.1.101.3.4.2.1"
)

// read takes the file apart and refuses what would take too long to open. One encrypted part at
// most is taken, since each costs a derivation.
func (p *pfx) read(file []byte) (flaw string) {
	var outer pdu
	var text []byte
	var safes []asn1.RawValue
	if !parse(file, &outer) || outer.Version != 3 || outer.Safe.Type.String() != oidData ||
		!parse(outer.Safe.Content.Bytes, &text) || !parse(text, &safes) {
		return flawBroken
	}
	p.copies = append(p.copies, text)
	for _, safe := range safes {
		var c contentInfo
		var e encryptedData
		switch {
		case !parse(safe.FullBytes, &c):
			return flawBroken
		case c.Type.String() == oidData:
			if flaw := p.readBags(c.Content.Bytes); flaw != "" {
				return flaw
			}
		case c.Type.String() != oidEncrypted, !parse(c.Content.Bytes, &e), !quick(e.Info.Algorithm), len(p.sealed) > 0:
			return flawOdd
		default:
			p.sealed = append(p.sealed, safe)
		}
	}
	return ""
}

// readBags takes what stands in the clear, with one private key at most.
func (p *pfx) readBags(content []byte) (flaw string) {
	var text []byte
	var bags []asn1.RawValue
	if !parse(content, &text) || !parse(text, &bags) {
		return flawBroken
	}
	p.copies = append(p.copies, text)
	for _, raw := range bags {
		var bag safeBag
		var k shroudedKey
		if !parse(raw.FullBytes, &bag) {
			return flawBroken
		}
		kind := bag.Type.String()
		p.bags = append(p.bags, raw)
		if kind != oidKeyBag && kind != oidShrouded {
			continue
		}
		if p.keyed || len(raw.FullBytes) > maxBag || kind == oidShrouded && (!parse(bag.Value.Bytes, &k) || !quick(k.Algorithm)) {
			return flawOdd
		}
		p.keyed = true
	}
	return ""
}

// again writes the file anew without its MAC, which only a password could prove. There are two ways to have none: the
// library tries the one that some of Windows' files need (empty) only after a MAC that says so.
func (p *pfx) again(empty bool) []byte {
	bags := p.bags
	if !p.keyed { // the library opens no file without a key: one that is nobody's stands in
		nobodys, _ := x509.MarshalPKCS8PrivateKey(ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))) // knows this kind
		bags = append([]asn1.RawValue{{FullBytes: encode(safeBag{oid(oidKeyBag), explicit(nobodys)})}}, bags...)
	}
	text := p.encode(append([]asn1.RawValue{{FullBytes: p.encode(p.wrap(p.encode(bags)))}}, p.sealed...))
	if !empty {
		return p.encode(struct {
			Version int
			Safe    contentInfo
		}{3, p.wrap(text)})
	}
	salt := make([]byte, sha256.BlockSize)
	algorithm := pkix.AlgorithmIdentifier{Algorithm: oid(oidSHA256), Parameters: asn1.NullRawValue}
	return p.encode(struct {
		Version int
		Safe    contentInfo
		Mac     macData
	}{3, p.wrap(text), macData{digestInfo{algorithm, emptyMAC(salt, text)}, salt}})
}

// emptyMAC is the MAC that a file has under an empty password (RFC 7292, appendix B.2): after one round of SHA-256, with
// a salt that fills a block, little is left of the derivation.
// There, D is 64 times the byte 3 (the purpose "MAC"), S the salt, P the empty password; with one round and S of one
// block, the key is SHA-256(D ‖ S).
func emptyMAC(salt, text []byte) []byte {
	const forMAC = 3
	key := sha256.Sum256(append(bytes.Repeat([]byte{forMAC}, sha256.BlockSize), salt...))
	mac := hmac.New(sha256.New, key[:])
	mac.Write(text)
	return mac.Sum(nil)
}

// quick tells whether an encryption is one of PKCS#12's whose key is derived in bearable time.
// It reads the number of rounds as the file states it; whether the library knows the algorithm shows when it opens it.
func quick(a pkix.AlgorithmIdentifier) bool {
	if a.Algorithm.String() != oidPBES2 { // the library knows which of the older ones there are
		var p struct {
			Salt   []byte
			Rounds int
		}
		return parse(a.Parameters.FullBytes, &p) && 0 < p.Rounds && p.Rounds <= maxRounds
	}
	var p struct{ KDF, Scheme pkix.AlgorithmIdentifier }
	var k struct {
		Salt   asn1.RawValue
		Rounds int
		Length int                      `asn1:"optional"`
		PRF    pkix.AlgorithmIdentifier `asn1:"optional"`
	}
	return parse(a.Parameters.FullBytes, &p) && p.KDF.Algorithm.String() == oidPBKDF2 &&
		parse(p.KDF.Parameters.FullBytes, &k) && 0 < k.Rounds && k.Rounds <= maxRounds
}

// parse reads DER and nothing behind it.
func parse(der []byte, into any) bool {
	rest, err := asn1.Unmarshal(der, into)
	return err == nil && len(rest) == 0
}

// encode writes DER. All that it is given was read before or made here, so nothing of it can fail; what did would not open.
func encode(of any) []byte {
	der, _ := asn1.Marshal(of)
	return der
}

// wrap makes a ContentInfo of type data.
func (p *pfx) wrap(data []byte) contentInfo {
	return contentInfo{oid(oidData), explicit(p.encode(data))}
}

// explicit puts DER under an explicit tag 0, as ContentInfo and SafeBag have it.
func explicit(der []byte) asn1.RawValue {
	return asn1.RawValue{Class: asn1.ClassContextSpecific, Tag: 0, IsCompound: true, Bytes: der}
}

// oid reads a dotted identifier, one of the constants above.
func oid(dotted string) (id asn1.ObjectIdentifier) {
	for arc := range strings.SplitSeq(dotted, ".") {
		n, _ := strconv.Atoi(arc)
		id = append(id, n)
	}
	return id
}
