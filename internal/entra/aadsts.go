package entra

import "fmt"

// remedy says what an AADSTS code means for a federated credential, and what to do. The codes are those of Microsoft's
// "Microsoft Entra authentication and authorization error codes".
// Microsoft says that codes may change: they are good for a hint, and nothing is decided by one. The kind and the
// reason of a failure come from the HTTP status alone.
func remedy(code int) string {
	switch code {
	case 70021:
		return "no federated credential of the application fits the assertion: compare issuer, subject and audience; if the credential " +
			"was made just now, Entra needs some minutes"
	case 700211:
		return "no federated credential has the assertion's issuer: copy iss from the token to the letter; a slash at its end counts"
	case 700212:
		return "no federated credential has the assertion's audience: write api://AzureADTokenExchange on both sides (with USGov or China at its end in those clouds)"
	case 700213:
		return "no federated credential has the assertion's subject: copy sub from the token, system:serviceaccount:NAMESPACE:NAME on Kubernetes"
	case 7002138:
		return "the subject differs from the federated credential's in upper and lower case only: write it as the token does; " +
			"if they are equal to the letter, delete the federated credential and make it again"
	case 70025:
		return "the application has no federated credential: add one for this issuer and subject"
	case 700016:
		return "no application with this client_id in this tenant: compare client_id and tenant_id, and look whether it was deleted"
	case 700024:
		return "the assertion is out of its time: look whether its file is still being renewed, and at this machine's clock"
	case 70023:
		return "the assertion lives for too long: 25 hours are the most; lower the projection's expirationSeconds"
	case 7000272:
		return "the key that signed the assertion is not among the issuer's published keys: publish it and wait for Entra to see it; " +
			"an assertion without a kid is refused, too"
	case 90061:
		return "Entra can't fetch the issuer's discovery document or its keys: publish them on the public internet, without a login, a filter of addresses or a redirect"
	case 700027:
		return "the assertion's signature does not verify, as the issuer's published keys are of another cluster or out of date: publish the present ones"
	case 50027:
		return "the assertion is no well-formed JWT: look at what writes its file"
	case 50013, 500133:
		return "the assertion is invalid or expired: look whether its file is still being renewed, and at this machine's clock"
	case 700222:
		return "an assertion that Entra issued itself is not accepted here: use a token of the cluster, or a user-assigned managed identity"
	case 700229:
		return "the assertion was not issued to an application: use a user-assigned managed identity"
	case 700223, 700238:
		return "a policy of the tenant forbids this federation or this issuer: ask the tenant's administrator to allow it"
	case 70052:
		return "the identity is neither a managed one nor an application of a single tenant: change the application's supported accounts"
	case 53003:
		return "Conditional Access for workload identities blocks it: ask the tenant's administrator to allow this machine's egress address"
	case 90002:
		return "there is no such tenant: compare tenant_id, and cloud with where the tenant lives"
	case 50049:
		return "the authority does not know this cloud: compare cloud with where the tenant lives"
	case 900382:
		return "federation does not work across clouds: use an assertion, an application and vaults of one cloud"
	case 500011:
		return "the tenant does not know the resource of the scope: correct the scope, or sign up in this tenant for what it names"
	case 70011, 1002012:
		return "the scope is none that an application can ask for: write the resource with /.default at its end"
	case 7000215, 7000222:
		return "a client secret was sent, and it is wrong or expired: something else than drone-entra's federation is at work; remove the secret"
	}
	return fmt.Sprintf("look at https://login.microsoftonline.com/error?code=%d", code)
}
