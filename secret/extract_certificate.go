package secret

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/pem"
	"slices"
	"strconv"
	"strings"
)

// The parts of a certificate, in the place of a JSON object's key.
const (
	partKey   = "key"   // the private key alone, PKCS#8
	partCert  = "cert"  // the leaf alone
	partChain = "chain" // the leaf and what certifies it
	partPFX   = "pfx"   // the PKCS#12 as Key Vault stores it, in base64
)

// BlockPKCS12 is the type of the PEM block that holds the PKCS#12 itself in a value of FormPKCS12.
const BlockPKCS12 = "PKCS12"

// Bounds of what is parsed, since whoever may write to a vault chooses it: an RSA key of 8192 bits has 4.7 KiB.
const (
	maxCerts  = 32
	maxKeyDER = 8 << 10
)

// Microsoft documents that Key Vault keeps the private key back where the certificate's policy says "not exportable".
const noteKeyless = "the certificate came without its private key: its policy in Key Vault does not let the key be exported"

// certificatePart takes a part out of a certificate; "" is all of a PKCS#12: the private key and the chain.
//
// But for pfx, the answer is PEM, one block after the other; the key always as PKCS#8, whatever its block's type was.
// No problem quotes the text.
func certificatePart(text []byte, part string, form Form) (value []byte, note, problem string) {
	b, problem := openBundle(text)
	defer func() { b.clear() }()
	if problem != "" {
		return nil, "", problem
	}
	switch part {
	case "":
		return b.whole()
	case partKey:
		value, problem = b.privateKey()
	case partCert:
		value, problem = b.leafAlone()
	case partChain:
		value, problem = b.chain()
	case partPFX:
		if form != FormPKCS12 || len(b.pfx) == 0 {
			return nil, "", "the certificate is stored as PEM, so there is no PKCS#12: ask for key, cert or chain"
		}
		value = base64.StdEncoding.AppendEncode(make([]byte, 0, base64.StdEncoding.EncodedLen(len(b.pfx))), b.pfx)
	default:
		problem = "the secret is a certificate (by its content type), which has key, cert, chain and pfx, and no such key"
	}
	return value, "", problem
}

// bundle is what PEM blocks hold of a certificate.
//
// Its slices are decoded copies, never parts of the text.
type bundle struct {
	key   *pem.Block // as it stands in the text; nil if there is none
	certs [][]byte   // DER, in the text's order
	pfx   []byte     // DER

	private [][]byte // all of these copies that no certificate is
}

// clear overwrites what is private in it. What crypto/x509 makes of a key is beyond reach.
func (b *bundle) clear() {
	for _, p := range b.private {
		clear(p)
	}
}

// openBundle reads PEM blocks. It passes over text between them, and over what belongs to no certificate; a block that
// can't be read is a problem, since a chain would be shorter for it and nobody told.
//
// pem.Decode skips what it can't read without a word. So the BEGIN lines are counted, and must be as many as the
// blocks.
func openBundle(text []byte) (b bundle, problem string) {
	blocks, keys := 0, 0
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		blocks++
		switch {
		case block.Type == "CERTIFICATE":
			b.certs = append(b.certs, block.Bytes)
		case block.Type == BlockPKCS12:
			b.pfx = block.Bytes
			b.private = append(b.private, block.Bytes)
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			b.key = block
			b.private = append(b.private, block.Bytes)
			keys++
		}
	}
	switch {
	case blocks == 0:
		return b, "the secret's content type says PEM, and it holds no PEM block that can be read"
	case blocks != bytes.Count(text, []byte("-----BEGIN ")):
		return b, "one of the secret's PEM blocks can't be read"
	case keys > 1:
		return b, "the secret holds " + strconv.Itoa(keys) + " private keys, where a certificate has one"
	}
	return b, ""
}

// whole is the private key and the chain, in this order. Where nobody can tell which certificate is the leaf (a bundle of
// roots, say) they stay in their order.
func (b *bundle) whole() (value []byte, note, problem string) {
	switch {
	case b.key == nil && len(b.certs) == 0:
		return nil, "", "there is neither a private key nor a certificate in it"
	case b.key == nil:
		note = noteKeyless
	default:
		if value, problem = b.privateKey(); problem != "" {
			return nil, "", problem
		}
	}
	chain, problem := b.chain()
	if problem != "" {
		chain = encode(b.certs)
	}
	defer clear(value) // which does not grow, or a copy would be left
	return slices.Concat(value, chain), note, ""
}

// privateKey is the key in PEM as PKCS#8: one form, whichever the importer had, so that a build need not look.
func (b *bundle) privateKey() (value []byte, problem string) {
	if b.key == nil {
		return nil, noteKeyless
	}
	der, _, problem := b.pkcs8()
	if problem != "" {
		return nil, problem
	}
	return EncodePEM(pem.Block{Type: "PRIVATE KEY", Bytes: der}), ""
}

// leafAlone is the leaf in PEM. ordered yields at least one certificate when it has no problem.
func (b *bundle) leafAlone() (value []byte, problem string) {
	ordered, problem := b.ordered()
	if problem != "" {
		return nil, problem
	}
	return encode(ordered[:1]), ""
}

// chain is all certificates in PEM, in order.
func (b *bundle) chain() (value []byte, problem string) {
	ordered, problem := b.ordered()
	return encode(ordered), problem
}

// ordered is the certificates' DER, the leaf first, each followed by its issuer, at the end those that have no place.
// Key Vault keeps the order of whoever imported them, which may be any.
//
// An issuer is known by its name and by its key: names alone are anybody's to choose, and two CAs may share one after
// a renewal. It ends, since every step takes one certificate away. No trust is checked: that is for whoever uses the
// chain.
func (b *bundle) ordered() (ders [][]byte, problem string) {
	if len(b.certs) > maxCerts {
		return nil, "it holds more certificates than a chain can have"
	}
	var certs []*x509.Certificate
	for _, der := range b.certs {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, "one of its certificates can't be read: it is damaged, or of a kind that is not known here"
		}
		certs = append(certs, c)
	}
	next, problem := b.leaf(certs)
	if problem != "" {
		return nil, problem
	}
	for next >= 0 {
		last := certs[next]
		ders = append(ders, last.Raw)
		certs = slices.Delete(certs, next, next+1)
		next = slices.IndexFunc(certs, func(c *x509.Certificate) bool {
			return bytes.Equal(c.RawSubject, last.RawIssuer) && last.CheckSignatureFrom(c) == nil
		})
	}
	for _, c := range certs {
		ders = append(ders, c.Raw)
	}
	return ders, ""
}

// leaf finds the certificate that belongs to the private key; without a key, the only one that issued none of the others.
func (b *bundle) leaf(certs []*x509.Certificate) (at int, problem string) {
	at = -1
	if len(certs) == 0 {
		return at, "there is no certificate in it"
	}
	if b.key != nil {
		_, key, problem := b.pkcs8()
		if problem != "" {
			return at, problem
		}
		for i, c := range certs {
			if belongs(c, key) {
				return i, ""
			}
		}
		return at, "none of its certificates belongs to its private key, or the key is of a kind that is not known here"
	}
	for i, c := range certs {
		switch {
		case issued(c, certs):
		case at >= 0:
			return -1, "it holds several certificates and no private key, so that none of them can be told to be the leaf"
		default:
			at = i
		}
	}
	if at < 0 {
		return at, "each of its certificates issued another one, so that none can be told to be the leaf"
	}
	return at, ""
}

// issued tells, by name only, whether c issued one of the others. That it may have issued itself does not count: a
// root is a leaf where it is alone.
func issued(c *x509.Certificate, others []*x509.Certificate) bool {
	for _, o := range others {
		if o != c && bytes.Equal(o.RawIssuer, c.RawSubject) {
			return true
		}
	}
	return false
}

// belongs tells whether the certificate is for this private key. A nil key, of a kind not known here, belongs to
// none.
func belongs(c *x509.Certificate, key any) bool {
	private, ok := key.(interface{ Public() crypto.PublicKey })
	if !ok {
		return false
	}
	public, ok := private.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && public.Equal(c.PublicKey)
}

// pkcs8 is the private key by the function of that name.
func (b *bundle) pkcs8() (der []byte, key any, problem string) {
	der, key, problem = pkcs8(b.key)
	b.private = append(b.private, der)
	return der, key, problem
}

// pkcs8 is a private key's DER in that form, and the key itself where its kind is known here; Key Vault has kinds that
// the standard library does not know (P-256K), and they are handed on as they are.
func pkcs8(block *pem.Block) (der []byte, key any, problem string) {
	var err error
	switch {
	case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["Proc-Type"] != "":
		return nil, nil, "its private key is encrypted with a password"
	case len(block.Bytes) > maxKeyDER:
		return nil, nil, "its private key is too long"
	case block.Type == "RSA PRIVATE KEY":
		key, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case block.Type == "EC PRIVATE KEY":
		key, err = x509.ParseECPrivateKey(block.Bytes)
	case block.Type == "PRIVATE KEY":
		var info struct {
			Version   int
			Algorithm pkix.AlgorithmIdentifier
			Key       []byte
		}
		if rest, err := asn1.Unmarshal(block.Bytes, &info); err != nil || len(rest) > 0 {
			return nil, nil, "its private key can't be read"
		}
		// The outer form was checked above; an unknown kind inside leaves key nil and is handed on.
		key, _ = x509.ParsePKCS8PrivateKey(block.Bytes)
		return block.Bytes, key, ""
	default:
		return nil, nil, "its private key is of a kind that certificates don't have"
	}
	if err == nil {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	if err != nil {
		return nil, nil, "its private key can't be read: it is damaged, or of a kind that is not known here"
	}
	return der, key, ""
}

// encode writes certificates as PEM, one after the other; nil for none.
func encode(ders [][]byte) []byte {
	var blocks []pem.Block
	for _, der := range ders {
		blocks = append(blocks, pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return EncodePEM(blocks...)
}

// perLine is how many bytes a line of PEM holds, in 64 characters (RFC 7468).
const perLine = 48

// EncodePEM writes blocks without headers, as encoding/pem does, but into a buffer that never grows and with no other in
// between: what is left in those could not be cleared. It is nil for no blocks.
func EncodePEM(blocks ...pem.Block) (text []byte) {
	if len(blocks) == 0 {
		return nil
	}
	text = make([]byte, 0, roomForPEM(blocks))
	for _, b := range blocks {
		text = append(append(append(text, "-----BEGIN "...), b.Type...), "-----\n"...)
		for line := range slices.Chunk(b.Bytes, perLine) {
			text = append(base64.StdEncoding.AppendEncode(text, line), '\n')
		}
		text = append(append(append(text, "-----END "...), b.Type...), "-----\n"...)
	}
	return text
}

// roomForPEM is at least the length of the blocks' text.
func roomForPEM(blocks []pem.Block) (n int) {
	for _, b := range blocks {
		lines := len(b.Bytes)/perLine + 1
		n += len("-----BEGIN -----\n-----END -----\n") + 2*len(b.Type) + base64.StdEncoding.EncodedLen(len(b.Bytes)) + lines
	}
	return n
}
