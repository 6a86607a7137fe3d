package config

import (
	"slices"

	"github.com/drone-entra/drone-entra/secret"
)

// Load reads files and directories (each *.yaml and *.yml in them, not recursive) into one Config. The sections of
// several files are merged.
//
// It returns every problem that it finds, in the order of the files. With an error among them the Config is nil; with
// none or only warnings it is complete.
//
// It reads the files and nothing else, and may be called at any time, also while another Load runs.
func Load(paths []string) (*Config, Problems) {
	r := newReport()
	return load(r, readAll(paths, r))
}

// readAll reads all that the paths stand for. A file that can't be read is a problem in the report and left out.
func readAll(paths []string, r *report) (files []File) {
	for _, name := range expand(paths, r) {
		content, err := readFile(name)
		if err != nil {
			r.fileError(name, "%v", err)
			continue
		}
		files = append(files, File{name, content})
	}
	return files
}

// load makes a configuration of files that have been read. The report knows of those that could not be. Replay enters
// here.
func load(r *report, files []File) (*Config, Problems) {
	_, cfg := assemble(r, files)
	return cfg, r.problems()
}

// assemble reads and builds. The Config is nil if there was an error; the builder is there in any case, for Check,
// which puts further findings at their places. It goes on after errors, so that a person sees all of them at once.
func assemble(r *report, files []File) (*builder, *Config) {
	b := &builder{report: r, partial: r.fatal}
	for _, f := range files {
		r.names = append(r.names, f.Name)
		b.read(len(r.names)-1, f.Content)
	}
	// Warnings and errors of the build count, too: fatal is looked at afterwards.
	cfg := b.build()
	if r.fatal {
		return b, nil
	}
	cfg.Files = files
	cfg.Content, cfg.SHA256 = content(files)
	return b, cfg
}

// read takes one file in, as far as it can be read. A file that fails at one station does not get to the next: what a
// later one said would be about another text than the person sees.
func (b *builder) read(index int, content []byte) {
	// The parser places some problems behind the last line; the report moves them to the end.
	b.ends[int32(index)] = endOf(index, content)
	if line := marked(content); line > 0 {
		b.errorf(placeAt(index, line, 1), `a line that begins with "# FILE" stands between the files of a kept configuration: write the comment differently`)
		b.partial = true
		return
	}
	if !scan(index, content, b.report) {
		b.partial = true
		return
	}
	root, ok := parse(index, content, b.report)
	if !ok {
		b.partial = true
		return
	}
	r := &reader{report: b.report, file: index}
	r.inspect(root, 1)
	f := &file{}
	r.object(root, f)
	sections := []*head{&f.head, &f.identities.head, &f.vaults.head, &f.tokens.head, &f.pools.head}
	// A section that could not be read would make every mention of its entries a problem of its own.
	b.partial = b.partial || slices.ContainsFunc(sections, func(h *head) bool { return h.set && !h.ok })
	b.files = append(b.files, f)
}

// builder makes the meaning of what was read. It serves one configuration and one goroutine, and is dropped with its
// drafts afterwards, unless Check goes on with it.
type builder struct {
	*report
	files   []*file
	partial bool // not all could be read: what seems not to be there may well be

	identities map[string]*entry[identity]
	vaults     map[string]*entry[vault]
	tokens     map[string]*entry[token] // by name in lower case
	issuer     *issuer
	pools      map[string]*entry[pool]
	groups     map[string]*entry[texts]
	folded     map[string]string // a group's name without case → as it is written
	used       map[used]bool
	bindings   map[string]bool // the ids of bindings
	same       same
	confined   map[int32]*bounds // by the index of the file
	inside     *bounds           // of the file whose rules are built
}

// used marks what some rule mentions, so that the rest can be warned of.
type used struct{ what, name string }

// build makes a Config of all files together. The order matters: rules speak of vaults, tokens, pools and groups, so those
// come first; vaults and tokens say whether the default identity is used; and confine needs all of them before the first
// rule.
func (b *builder) build() *Config {
	b.used, b.folded = map[used]bool{}, map[string]string{}
	b.identities = merged(b, "identity", func(f *file) []entry[identity] { return f.identities.entries })
	b.vaults = merged(b, "vault", func(f *file) []entry[vault] { return f.vaults.entries })
	b.pools = merged(b, "pool", func(f *file) []entry[pool] { return f.pools.entries })
	b.groups = merged(b, "group", func(f *file) []entry[texts] { return f.groups.entries })
	b.tokens = b.foldTokens(merged(b, "token", func(f *file) []entry[token] { return f.tokens.entries }))
	b.issuer = single(b, "issuer", func(f *file) *issuer { return &f.issuer })

	cfg := &Config{}
	cfg.Vaults = b.buildVaults()
	cfg.Tokens = b.buildTokens()
	cfg.Identities = b.buildIdentities() // after vaults and tokens, which may need the default one
	cfg.Issuer = b.buildIssuer()
	cfg.Pools = b.buildPools()
	cfg.Rules = secret.Rules{Groups: b.buildGroups()}
	for _, alias := range sortedKeys(cfg.Vaults) {
		v := cfg.Vaults[alias]
		cfg.Rules.Vaults = append(cfg.Rules.Vaults,
			secret.Vault{Alias: v.Alias, Host: v.Host, MaxAge: v.MaxAge, MustExpire: v.MustExpire})
	}
	if len(b.tokens) > 0 { // no vault's host is without a dot
		cfg.Rules.Vaults = append(cfg.Rules.Vaults, secret.Vault{Alias: secret.TokenDoor, Host: secret.TokenDoor})
	}
	b.confine()
	b.buildRules(&cfg.Rules)
	b.useTokens(&cfg.Rules)
	b.issuerPools(cfg)
	b.warnOpening(cfg)
	cfg.Expect = b.buildExpectations()
	b.buildProgram(cfg)
	b.warnUnused()
	return cfg
}

// merged joins a section of all files. A name that two files use is an error; within one file it was reported as a
// duplicate key. The returned entries point into the files' own lists, which no longer grow. The first of two wins,
// which only spares further problems.
func merged[T any](b *builder, what string, section func(*file) []entry[T]) map[string]*entry[T] {
	all := map[string]*entry[T]{}
	for _, f := range b.files {
		entries := section(f)
		for i := range entries {
			e := &entries[i]
			if !e.name.ok {
				continue
			}
			if earlier := all[e.name.value]; earlier == nil {
				all[e.name.value] = e
			} else if earlier.name.file != e.name.file {
				b.errorf(e.name.place, "%s %q is at %s already", what, clip(e.name.value), b.where(earlier.name.place))
			}
		}
	}
	return all
}

// single returns the section that only one file may have, or an empty one. Settings of the program are not merged:
// whose limit or address would win could not be seen in either file.
func single[T any, P interface {
	*T
	header() *head
}](b *builder, what string, section func(*file) P) P {
	var one P
	for _, f := range b.files {
		s := section(f)
		switch h := s.header(); {
		case !h.set:
		case one == nil:
			one = s
		default:
			b.errorf(h.place, "%q is at %s already: only one file has it", what, b.where(one.header().place))
		}
	}
	if one == nil {
		one = new(T)
	}
	return one
}

// ident checks a name that the operator chose. It tells whether the name is good; one that could not be read has been
// reported.
func (b *builder) ident(t text, what string) bool {
	if t.ok && !secret.ValidKey(t.value) {
		b.errorf(t.place, "%q can't be %s: it has letters, digits, dashes, dots and underscores, at most 127", clip(t.value), what)
		return false
	}
	return t.ok
}

// lookup tells whether the name is in a section, as listed does, and notes its use.
func lookup[T any](b *builder, section map[string]*entry[T], what, name string, at place) bool {
	b.used[used{what, name}] = true
	return listed(b, section, what, name, at)
}

// listed tells whether the name is in a section. What is not there is an error, unless a file could not be read and it may
// be in that one. Where it returns false, the caller leaves the mention out, which is safe even for a deny: the error
// keeps the configuration from being used.
func listed[T any](b *builder, section map[string]*entry[T], what, name string, at place) bool {
	if section[name] != nil {
		return true
	}
	if b.partial {
		return false
	}
	// The problem is dropped anyway: no suggestion is worked out for it.
	if b.full() {
		b.errorf(at, "not listed")
		return false
	}
	plurals := map[string]string{"identity": "identities", "vault": "vaults", "token": "tokens", "pool": "pools"}
	names := sortedKeys(section)
	if what == "vault" && len(b.tokens) > 0 {
		names = append(names, secret.TokenDoor)
	}
	b.errorf(at, "no %s is called %q%s", what, clip(name), didYouMean(name, names, ": list it under "+plurals[what]))
	return false
}

// warnUnused tells of what is listed and never mentioned. It is silent when errors may have hidden the mention.
func (b *builder) warnUnused() {
	if b.fatal {
		return
	}
	warnUnused(b, b.identities, "identity", "no vault is opened with it, and no token is asked for with it")
	warnUnused(b, b.vaults, "vault", "no binding reads from it")
	warnUnused(b, b.tokens, "token", "no binding gives it")
	b.warnUnusedIssuer()
	warnUnused(b, b.pools, "pool", "no rule names it")
	warnUnused(b, b.groups, "group", "no rule names it")
}

// warnUnused looks at one section. The order of the map does not show: problems are sorted by place.
func warnUnused[T any](b *builder, section map[string]*entry[T], what, why string) {
	for name, e := range section {
		if !b.used[used{what, name}] {
			b.warnf(e.name.place, "unused-"+what, "%s %q is not used: %s", what, name, why)
		}
	}
}
