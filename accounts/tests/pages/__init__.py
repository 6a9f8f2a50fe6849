"""The pages of accounts, as browsers see them."""
