package cli

import (
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/drone-entra/drone-entra/internal/config"
)

// The problems of a configuration for programs: our own JSON, and SARIF 2.1.0 (OASIS), which reviews of code understand.

// problemsJSON writes our own form. sha256 and the counts of rules are there only if the configuration can be used.
func (p *printer) problemsJSON(loaded *config.Config, problems config.Problems) error {
	type problem struct {
		File     string `json:"file"`
		Line     int    `json:"line,omitempty"`
		Column   int    `json:"column,omitempty"`
		Severity string `json:"severity"`
		Rule     string `json:"rule"`
		Text     string `json:"text"`
	}
	answer := struct {
		Loaded       bool      `json:"loaded"`
		SHA256       string    `json:"sha256,omitempty"`
		Bindings     int       `json:"bindings"`
		Denies       int       `json:"denies"`
		Expectations int       `json:"expectations"`
		Errors       int       `json:"errors"`
		Warnings     int       `json:"warnings"`
		Notes        int       `json:"notes"`
		Problems     []problem `json:"problems"`
	}{Errors: problems.Errors(), Warnings: problems.Warnings(), Notes: problems.Notes(), Problems: []problem{}}
	if loaded != nil {
		answer.Loaded, answer.SHA256 = true, loaded.SHA256
		answer.Bindings, answer.Denies, answer.Expectations = len(loaded.Rules.Bindings), len(loaded.Rules.Denies), len(loaded.Expect)
	}
	for _, p := range problems {
		answer.Problems = append(answer.Problems, problem{p.File, p.Line, p.Column, p.Severity(), p.Rule, p.Text})
	}
	return p.encode(answer)
}

// The schema's address is a name: nothing fetches it.
const sarifSchema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

// The part of SARIF that is needed, by the names of its specification.
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool struct {
			Driver sarifDriver `json:"driver"`
		} `json:"tool"`
		ColumnKind string        `json:"columnKind"`
		Results    []sarifResult `json:"results"`
	}
	sarifDriver struct {
		Name  string      `json:"name"`
		Rules []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID               string       `json:"id"`
		ShortDescription sarifMessage `json:"shortDescription"`
		Default          struct {
			Level string `json:"level"`
		} `json:"defaultConfiguration"`
	}
	sarifMessage struct {
		Text string `json:"text"`
	}
	sarifResult struct {
		RuleID    string          `json:"ruleId"`
		RuleIndex int             `json:"ruleIndex"`
		Level     string          `json:"level"`
		Message   sarifMessage    `json:"message"`
		Locations []sarifLocation `json:"locations"`
	}
	sarifLocation struct {
		Physical struct {
			Artifact struct {
				URI string `json:"uri"`
			} `json:"artifactLocation"`
			Region *sarifRegion `json:"region,omitempty"` // none where the whole file is meant
		} `json:"physicalLocation"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn"`
	}
)

// problemsSARIF writes every rule, found or not, as a reader may list what was looked for. Columns count characters,
// which SARIF calls unicodeCodePoints and has to be told.
func (p *printer) problemsSARIF(problems config.Problems) error {
	run := sarifRun{ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	run.Tool.Driver.Name = "drone-entra"
	rules := config.Checks()
	for _, rule := range rules {
		r := sarifRule{ID: rule.ID, ShortDescription: sarifMessage{rule.Text}}
		r.Default.Level = rule.Severity
		run.Tool.Driver.Rules = append(run.Tool.Driver.Rules, r)
	}
	for _, problem := range problems {
		result := sarifResult{
			RuleID: problem.Rule, Level: problem.Severity(), Message: sarifMessage{problem.Text},
			RuleIndex: slices.IndexFunc(rules, func(r config.CheckRule) bool { return r.ID == problem.Rule }),
			Locations: make([]sarifLocation, 1),
		}
		at := &result.Locations[0].Physical
		at.Artifact.URI = fileURI(problem.File)
		if problem.Line > 0 {
			at.Region = &sarifRegion{problem.Line, problem.Column}
		}
		run.Results = append(run.Results, result)
	}
	return p.encode(sarifLog{sarifSchema, "2.1.0", []sarifRun{run}})
}

// fileURI names a file relative to where we are, as a reviewer of a repository knows it; only what lies elsewhere has an
// absolute URI. A review shows a finding only beside a file that it knows by this name.
func fileURI(name string) string {
	if filepath.IsAbs(name) {
		here, err := os.Getwd()
		relative, relErr := filepath.Rel(here, name)
		if err != nil || relErr != nil || relative == ".." || strings.HasPrefix(relative, ".."+string(filepath.Separator)) {
			return (&url.URL{Scheme: "file", Path: filepath.ToSlash(name)}).String()
		}
		name = relative
	}
	return (&url.URL{Path: filepath.ToSlash(filepath.Clean(name))}).String()
}
