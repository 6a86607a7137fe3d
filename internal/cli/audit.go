package cli

import (
	"fmt"
	"time"

	"github.com/drone-entra/drone-entra/internal/audit"
	"github.com/drone-entra/drone-entra/internal/config"
)

// auditCommand reads the record and no configuration's rules.
type auditCommand struct {
	Verify verifyCommand `cmd:"" help:"Check that no line of the record was changed, removed or moved."`
}

// recordPlace says which record a command reads.
type recordPlace struct {
	Config []string `sep:"none" help:"Configuration that names the record." env:"DRONE_ENTRA_CONFIG" placeholder:"PATH"`
	File   string   `help:"The record itself (default: as configured, else /var/lib/drone-entra/audit.jsonl)." placeholder:"RECORD"`
}

// record finds the record's file. --file wins, so that a copy can be read on a machine that has no configuration.
// Problems are printed here; the error then says only "no".
func (p recordPlace) record(out *printer) (string, error) {
	if p.File != "" {
		return p.File, nil
	}
	if len(p.Config) == 0 {
		return config.DefaultRecord, nil
	}
	loaded, problems := config.Load(p.Config)
	if loaded == nil {
		fmt.Fprint(out.err, problems)
		return "", errNo
	}
	return loaded.Record.File, nil
}

// verifyCommand finds lines that were changed, removed or moved. Whoever can write the file can cut its end off and
// leave a good chain, so it prints the end, to be compared with the log.
type verifyCommand struct{ recordPlace }

// Run verifies the whole chain, rotated files included; exit code 1 names the first bad line.
func (c verifyCommand) Run(out *printer) error {
	file, err := c.record(out)
	if err != nil {
		return err
	}
	verified, err := audit.Verify(file)
	if err != nil {
		return fmt.Errorf("the record does not verify: %w", err)
	}
	if verified.Lines == 0 {
		out.printf("%s is empty: nothing was recorded yet\n", file)
		return nil
	}
	out.printf("%s  %d lines in %s, from %s to %s\n", out.paint(good, "unbroken"), verified.Lines,
		plural(len(verified.Files), "file"), verified.First.Format(time.RFC3339), verified.Last.Format(time.RFC3339))
	if verified.FirstSeq > 1 {
		out.printf("  The first line here is number %d: the files before it are kept elsewhere and were not read.\n", verified.FirstSeq)
	}
	out.printf("  The chain ends at number %d with %s. Lines cut off behind it show only against the log, which names the end each minute.\n",
		verified.Seq, verified.Hash)
	return nil
}
