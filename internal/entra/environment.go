package entra

import (
	"errors"
	"fmt"
)

// CheckEnvironment refuses what would lead the SDK away from federation, or what shows that somebody put a long-lived
// credential where none belongs. The error names every variable that is set (never its content) and the remedy.
//
// The five credentials are read by nothing here. They are refused because they exist: such a credential outlives every
// build, and any tool in the same container that uses DefaultAzureCredential could prefer it to federation. The others
// change, behind the configuration's back, where azidentity goes or what it prints.
func CheckEnvironment(getenv func(string) string) error {
	const federate = "drone-entra proves itself with a federated workload identity: delete the credential in Entra, add a federated credential, and unset it"
	var problems []error
	for _, v := range []struct{ name, remedy string }{
		{"AZURE_CLIENT_SECRET", federate},
		{"AZURE_CLIENT_CERTIFICATE_PATH", federate},
		{"AZURE_CLIENT_CERTIFICATE_PASSWORD", federate},
		{"AZURE_USERNAME", "drone-entra never signs in as a person: unset it"},
		{"AZURE_PASSWORD", "drone-entra never signs in as a person: change that password, and unset it"},
		{"AZURE_REGIONAL_AUTHORITY_NAME", "it would send assertions to another authority than the configured cloud's: unset it"},
		{"AZURE_POD_IDENTITY_AUTHORITY_HOST", "it would ask another endpoint than the machine's for managed identities: unset it"},
		{"AZURE_SDK_GO_LOGGING", "it would print answers of Azure past our log: unset it, and set log's level to debug"},
	} {
		if getenv(v.name) != "" {
			problems = append(problems, fmt.Errorf("%s is set: %s", v.name, v.remedy))
		}
	}
	return errors.Join(problems...)
}

// Stray warns of long-lived credentials under the names of Terraform's provider, which nothing here and nothing of the SDK reads.
// They are no reason to refuse: on a machine where Terraform runs they may be somebody's on purpose.
func Stray(getenv func(string) string) (warnings []string) {
	for _, name := range []string{"ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE", "ARM_CLIENT_CERTIFICATE_PATH", "ARM_CLIENT_CERTIFICATE_PASSWORD"} {
		if getenv(name) != "" {
			warnings = append(warnings, name+" is set but not used: drone-entra needs no long-lived credential, and one does not belong beside it")
		}
	}
	return warnings
}
